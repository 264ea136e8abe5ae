"""Our service beside plain nginx: the same files, the same clients, in turns, in one run.

    apt-get install nginx-light wrk
    python -m benchmarks.serving [--seconds 120] [--readers 32]

nginx has one worker, sendfile, and no more to do than to send files of a folder; tcp_nopush is off,
as with it a range that is a little longer than a packet waits 40 ms for its end. Ours looks paths
up in the manifest, checks digests, and knows who asks. Both write a log, answer on loopback, and
run on one core; wrk, which reads and drops what comes, runs on another. Two works: 64 KB from a
random place of a random shard, and whole shards. Ours is asked a second time in a way that it does
not answer at once. Before anything is timed, parts of files are read
from both and compared.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np

from benchmarks.first_touch import real_store
from benchmarks.machine import ROOT, heading
from pi_cache.layout import Layout
from pi_cache.serving.tokens import new_token

RANGE = 64 << 10
DAY = 86_400.0
PATIENCE = 60.0
"""Seconds for a server to answer at first."""
TICK = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  sendfile on; tcp_nopush off; tcp_nodelay on; keepalive_requests 1000000000;
  access_log {folder}/access.log; default_type application/octet-stream;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} reuseport; root {root}; }}
}}
"""

ODD = ', ["X-Odd"] = "1"'
"""A header with which a request goes through h11 and the routes."""

WRK = """
local paths, size = {paths}, {size}
local headers = {{["Authorization"] = "Bearer {token}"{more}}}
local number = 0
function setup(thread) thread:set("seed", {seed} + number); number = number + 1 end
function init(args) math.randomseed(seed) end
function request()
  local one = paths[math.random(#paths)]
  if size > 0 then
    local first = math.random(0, one[2] - size)
    headers["Range"] = "bytes=" .. first .. "-" .. first + size - 1
  end
  return wrk.format("GET", one[1], headers)
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"requests": %d, "bytes": %d, "seconds": %f, "p50": %f, "p99": %f, '
    .. '"failed": %d}}\\n', summary.requests, summary.bytes, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Server:
    """One that runs. process: its id, below which its workers are. token: what it is asked with.

    more: another header, in Lua.
    """

    name: str
    port: int
    process: int
    token: str
    more: str = ""

    @property
    def processes(self) -> list[int]:
        """Ids of all of its processes."""
        return [self.process, *_children(self.process)]

    def spent(self) -> float:
        """Seconds of processor time so far."""
        return sum(_seconds(process) for process in self.processes)

    def peak(self) -> int:
        """Bytes that its processes held at most, each at its own time."""
        return sum(_peak(process) for process in self.processes)


@dataclass
class Turn:
    """What one run of wrk had; times in ms."""

    requests: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    failed: int
    spent: float = 0.0


@dataclass
class Row:
    """All turns of a server at a work."""

    name: str
    work: str
    turns: list[Turn] = field(default_factory=list)

    def rate(self) -> float:
        """Requests a second."""
        return sum(t.requests for t in self.turns) / sum(t.seconds for t in self.turns)

    def speed(self) -> float:
        """Bytes a second."""
        return sum(t.bytes for t in self.turns) / sum(t.seconds for t in self.turns)

    def cost(self) -> float:
        """Seconds of processor time for 1e9 bytes."""
        return 1e9 * sum(t.spent for t in self.turns) / sum(t.bytes for t in self.turns)

    def busy(self) -> float:
        """Processor time by time: 1 is a whole core."""
        return sum(t.spent for t in self.turns) / sum(t.seconds for t in self.turns)


@contextlib.contextmanager
def nginx(root: Path, core: int | None) -> Iterator[Server]:
    """Plain nginx over a folder."""
    with tempfile.TemporaryDirectory(prefix="nginx.") as folder:
        port = _free_port()
        Path(folder).chmod(0o755)
        text = NGINX.format(folder=folder, root=root, port=port)
        (Path(folder) / "nginx.conf").write_text(text, encoding="utf-8")
        line = [_program("nginx"), "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
        with _running(line, port, core) as process:
            yield Server("nginx", port, process, "as-long-as-a-real-one" * 3)


@contextlib.contextmanager
def ours(root: Path, core: int | None) -> Iterator[Server]:
    """`pi-cache serve` over a cache root, without a limit on the rate of requests."""
    with tempfile.TemporaryDirectory(prefix="serve.") as folder:
        port = _free_port()
        line = [
            sys.executable, "-m", "pi_cache.cli", "serve", str(root), "--port", str(port),
            "--rate", "0", "--log", f"{folder}/log", "--tokens", f"{folder}/tokens",
        ]  # fmt: skip
        token, _ = new_token(
            Path(folder) / "tokens", "benchmark", may=["read"], stores=None, seconds=DAY
        )
        with _running(line, port, core) as process:
            yield Server("pi-cache", port, process, token)


@contextlib.contextmanager
def _running(line: Sequence[str], port: int, core: int | None) -> Iterator[int]:
    """A program that answers at a port; its id."""
    process = subprocess.Popen(
        [*_on(core), *line], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    stop = time.monotonic() + PATIENCE
    while time.monotonic() < stop:
        if process.poll() is not None:
            raise click.ClickException(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise click.ClickException(f"nothing answers at port {port}")


def shards(path: Path) -> dict[str, int]:
    """Sizes of the shards of images, by their path of a request."""
    found = sorted((path / "data.zarr/images").glob("c.*"))
    return {f"/stores/{path.name}/data.zarr/images/{f.name}": f.stat().st_size for f in found}


def compare(path: Path, paths: dict[str, int], server: Server) -> None:
    """Raise where a server sends other bytes than the files have."""
    chance, line = random.Random(1), http.client.HTTPConnection("127.0.0.1", server.port)
    for name, size in [*paths.items(), *random.Random(2).choices([*paths.items()], k=50)]:
        content = (path.parents[1] / name[1:]).read_bytes()
        for first in (0, chance.randrange(size - RANGE)):
            headers = {"Range": f"bytes={first}-{first + RANGE - 1}"} if first else {}
            headers["Authorization"] = f"Bearer {server.token}"
            line.request("GET", name, headers=headers)
            answer = line.getresponse()
            expected = content[first : first + RANGE] if first else content
            if answer.read() != expected:
                raise click.ClickException(f"{server.name} sends wrong bytes of {name}")
    line.close()


def turn(
    server: Server,
    paths: dict[str, int],
    *,
    size: int,
    readers: int,
    seconds: float,
    core: int | None,
) -> Turn:
    """Let wrk read for so long. size: bytes of a range, 0 for whole files."""
    listed = ", ".join(f'{{"{name}", {length}}}' for name, length in paths.items())
    listed = f"{{{listed}}}"
    seed, token = random.randrange(2**20), server.token
    script = WRK.format(paths=listed, size=size, seed=seed, token=token, more=server.more)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        line = [
            *_on(core), _program("wrk"), "-t1", f"-c{readers}", f"-d{max(1, round(seconds))}s",
            "--timeout", "60s", "-s", file.name, f"http://127.0.0.1:{server.port}",
        ]  # fmt: skip
        before = server.spent()
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        spent = server.spent() - before
    (told,) = [json.loads(row) for row in done.stdout.splitlines() if row.startswith("{")]
    had = Turn(**told, spent=spent)
    if not had.requests:
        raise click.ClickException(f"{server.name}: nothing was answered:\n{done.stdout}")
    return had


WORKS = {"64 KB ranges": RANGE, "whole shards": 0}


def measure(
    root: Path, path: Path, *, seconds: float, readers: int, rounds: int
) -> tuple[list[Row], dict[str, int]]:
    """A row for each server and work, and the bytes that each server held at most.

    seconds: of each server, over its works and rounds.
    """
    paths, cores = shards(path), _cores()
    with nginx(root, cores[0]) as one, ours(root, cores[0]) as other:
        servers = (one, other, replace(other, name="pi-cache, routes", more=ODD))
        for server in servers:
            compare(path, paths, server)
        rows = {(s.name, work): Row(s.name, work) for work in WORKS for s in servers}
        each = seconds / rounds / len(WORKS)
        for _ in range(rounds):
            for work, size in WORKS.items():
                for server in servers:
                    rows[server.name, work].turns.append(
                        turn(server, paths, size=size, readers=readers, seconds=each, core=cores[1])
                    )
        return [*rows.values()], {one.name: one.peak(), other.name: other.peak()}


def table(rows: Sequence[Row], peaks: dict[str, int]) -> str:
    """As a table of Markdown."""
    lines = [
        "| work | server | requests/s | MB/s | p50 ms | p99 ms | CPU s per GB | cores | failed"
        " | peak MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        p50, p99 = (np.median([getattr(t, name) for t in row.turns]) for name in ("p50", "p99"))
        lines.append(
            f"| {row.work} | {row.name} | {row.rate():,.0f} | {row.speed() / 1e6:,.0f} | {p50:.2f}"
            f" | {p99:.2f} | {row.cost():.3f} | {row.busy():.2f}"
            f" | {sum(t.failed for t in row.turns)}"
            f" | {peaks[row.name.partition(',')[0]] >> 20} |"
        )
    return "\n".join(lines)


def _on(core: int | None) -> list[str]:
    """What puts a program on a core."""
    return [] if core is None else ["taskset", "-c", str(core)]


def _cores() -> tuple[int | None, int | None]:
    """One for the server and one for the clients, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 and shutil.which("taskset") else (None, None)


def found(name: str) -> str | None:
    """Where a program is, None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _program(name: str) -> str:
    path = found(name)
    if path is None:
        raise click.ClickException(f"{name} is missing: apt-get install nginx-light wrk")
    return path


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _children(process: int) -> list[int]:
    """Ids of the processes that a process has started, and of theirs."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/task/{process}/children").read_text("ascii")
        return [c for one in map(int, text.split()) for c in (one, *_children(one))]
    return []


def _seconds(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICK


def _peak(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    (found,) = [line for line in lines if line.startswith("VmHWM")]
    return int(found.split()[1]) << 10


@click.command(help=__doc__.splitlines()[0])
@click.option("--seconds", default=120.0, show_default=True, help="Of each server.")
@click.option("--readers", default=32, show_default=True)
@click.option("--rounds", default=6, show_default=True)
@click.option("--shards", "count", default=8, show_default=True, help="Of 1,024 samples.")
def main(seconds: float, readers: int, rounds: int, count: int) -> None:
    """Print the table."""
    for line in heading(("starlette", "uvicorn", "h11")):
        click.echo(line)
    click.echo(f"load before: {os.getloadavg()[0]:.2f}; of an idle machine it is near 0")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # for the worker of nginx, which is another user
        path = real_store(Path(folder), count, Layout(shard_samples=1024))
        paths = shards(path)
        click.echo(
            f"{len(paths)} shards of {sum(paths.values()) / len(paths) / 1e6:.1f} MB,"
            f" {readers} readers, {seconds:g} s a server in {rounds} rounds of turns\n"
        )
        rows, peaks = measure(Path(folder), path, seconds=seconds, readers=readers, rounds=rounds)
    click.echo(table(rows, peaks))


if __name__ == "__main__":
    main()
