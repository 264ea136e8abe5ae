"""A real SLURM on loopback: a controller and several nodes on this machine, all files in a folder.

    python -m tests.cluster.slurm_lab start|stop FOLDER [NODES]

It needs Debian's `slurm-wlm` and `munge` and no root: the cluster runs the jobs of its one user.
Daemons are stopped by the process ids that they wrote, checked against what runs under them.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
UP = ("idle", "allocated", "mixed", "completing")
PATIENCE = 120.0
"""Seconds to wait for daemons and jobs: a step takes about one, on a busy machine ten."""

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket,cred_expire=10
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={port}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobcomp.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
ReturnToService=2
SlurmdTimeout={timeout}
KillWait=5
JobRequeue=1
MinJobAge=300
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs=1 RealMemory={memory} \
State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """The programs of SLURM that are not installed here."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@dataclass(frozen=True)
class SlurmLab:
    """A cluster of nodes n1, n2, ... with one core each, in a folder of its own.

    timeout: seconds after which a node that is silent is down, and its jobs are started elsewhere;
    nodes of a busy machine are silent for a while too.
    """

    folder: Path
    nodes: int = 2
    timeout: int = 60

    @property
    def environment(self) -> dict[str, str]:
        """For all that is to speak to this cluster."""
        path = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
        return {**os.environ, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: str, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self) -> None:
        """Start what does not run, and wait until all nodes are up."""
        for name in ("run", "log", "state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not (self.folder / "slurm.conf").exists():
            self._configure()
        run, log = self.folder / "run", self.folder / "log"
        if not self.is_alive("munged"):
            self.call(
                "munged",
                "--force",
                f"--key-file={self.folder / 'munge.key'}",
                f"--socket={run / 'munge.socket'}",
                f"--pid-file={run / 'munged.pid'}",
                f"--log-file={log / 'munged.log'}",
                f"--seed-file={run / 'munged.seed'}",
                "--num-threads=2",
            )
        if not self.is_alive("slurmctld"):
            self.call("slurmctld", "-i")
        for node in self.names():
            self.start_node(node)
        wait_for(lambda: self._up() >= self.nodes, "all nodes are up")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        (self.folder / "spool" / node).mkdir(exist_ok=True)
        if not self.is_alive(f"slurmd-{node}"):
            self.call("slurmd", "-N", node)

    def names(self) -> list[str]:
        """The nodes."""
        return [f"n{k}" for k in range(1, self.nodes + 1)]

    def _configure(self) -> None:
        port = _free_ports(self.nodes + 1)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        text = CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            user=pwd.getpwuid(os.getuid()).pw_name,
            folder=self.folder,
            port=port,
            nodes=f"n[1-{self.nodes}]",
            ports=f"{port + 1}-{port + self.nodes}",
            memory=memory * 9 // 10,
            timeout=self.timeout,
        )
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        (self.folder / "slurm.conf").write_text(text)

    def _up(self) -> int:
        states = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%T", check=False).split()
        return sum(state in UP for state in states)

    def kill_node(self, node: str) -> None:
        """End a node as a power cut does: its daemon and all that its jobs run, at once."""
        self._kill(f"slurmd-{node}")
        jobs = self.processes_of(node)
        for process in jobs:
            if _name(_parent(process)) == "slurmstepd":
                _end(_parent(process))
        for process in jobs:
            _end(process)

    def processes_of(self, node: str) -> list[int]:
        """The processes of the jobs on a node."""
        return [p for p in self._processes() if _environment(p).get("SLURMD_NODENAME") == node]

    def _processes(self) -> Iterator[int]:
        """All processes that were started for this cluster, by their environment."""
        configuration = str(self.folder / "slurm.conf")
        for place in Path("/proc").glob("[0-9]*"):
            number = int(place.name)
            if number != os.getpid() and _environment(number).get("SLURM_CONF") == configuration:
                yield number

    def wait(self, *jobs: str, seconds: float = PATIENCE) -> None:
        """Wait until none of these jobs is pending or running.

        Raises TimeoutError with what SLURM says of jobs and nodes.
        """
        asked = ["squeue", "-h", f"--jobs={','.join(jobs)}", "-t", "PD,R,CG,CF,SO"]
        try:
            wait_for(lambda: not self.call(*asked, check=False).strip(), "jobs end", seconds)
        except TimeoutError as error:
            told = [self.call(*words, check=False) for words in (["squeue"], ["sinfo", "-N", "-l"])]
            raise TimeoutError(f"{error}\n{''.join(told)}") from error

    def is_alive(self, daemon: str) -> bool:
        """Whether a daemon runs; false for a zombie, and for another process of its number."""
        number = self._number(daemon)
        return number is not None and _name(number) == daemon.partition("-")[0]

    def _number(self, daemon: str) -> int | None:
        with suppress(OSError, ValueError):
            return int((self.folder / "run" / f"{daemon}.pid").read_text())
        return None

    def _kill(self, daemon: str) -> None:
        number = self._number(daemon)
        if number is not None and self.is_alive(daemon):
            _end(number)

    def stop(self) -> None:
        """End all jobs and daemons, and whatever a job has left behind."""
        if self.is_alive("slurmctld"):
            self.call("scancel", "-Q", f"--user={pwd.getpwuid(os.getuid()).pw_name}", check=False)
            with suppress(TimeoutError):
                wait_for(lambda: not self.call("squeue", "-h", check=False).strip(), "jobs end", 8)
        daemons = [*(f"slurmd-{node}" for node in self.names()), "slurmctld", "munged"]
        for daemon in daemons:
            number = self._number(daemon)
            if number is not None and self.is_alive(daemon):
                os.kill(number, signal.SIGTERM)
        with suppress(TimeoutError):
            wait_for(lambda: not any(map(self.is_alive, daemons)), "daemons end", 10)
        for daemon in daemons:
            self._kill(daemon)
        for process in list(self._processes()):
            _end(process)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def _free_ports(count: int) -> int:
    """The first of some neighbouring ports that nobody listens on."""
    for base in (20_000 + 10 * secrets.randbelow(1000) for _ in range(100)):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for number, each in enumerate(sockets):
                each.bind(("127.0.0.1", base + number))
            return base
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
    raise RuntimeError("no free ports")


def _environment(process: int) -> dict[str, str]:
    """The environment that a process was started with; nothing where it has ended."""
    with suppress(OSError):
        words = Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(word.split("=", 1) for word in words if "=" in word)
    return {}


def _name(process: int) -> str:
    """What a process runs, "" for a zombie."""
    with suppress(OSError):
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
        return Path(words.partition("\0")[0].partition(":")[0].partition(" ")[0]).name
    return ""


def _parent(process: int) -> int:
    with suppress(OSError):
        text = Path(f"/proc/{process}/stat").read_text()
        return int(text.rpartition(")")[2].split()[1])
    return 0


def _end(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


@contextmanager
def slurm_on_path(folder: Path, nodes: int = 2) -> Iterator[SlurmLab]:
    """A cluster for a fixture, its commands on the path, as on a login node.

    Skips where SLURM is not installed.
    """
    missing = missing_programs()
    if missing:
        pytest.skip(f"no SLURM here: {', '.join(missing)} missing (apt: slurm-wlm, munge)")
    lab = SlurmLab(folder, nodes)
    try:
        lab.start()
        with pytest.MonkeyPatch.context() as patch:
            for name in ("PATH", "SLURM_CONF"):
                patch.setenv(name, lab.environment[name])
            yield lab
    finally:
        lab.stop()


if __name__ == "__main__":
    lab = SlurmLab(Path(sys.argv[2]).absolute(), *map(int, sys.argv[3:]))
    {"start": lab.start, "stop": lab.stop}[sys.argv[1]]()
