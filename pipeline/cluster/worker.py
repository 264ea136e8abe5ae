"""The process that computes shards for an element, which can end it at any moment.

It answers each number of a shard with a line of JSON, and ends with its parent. Signals are the
parent's: it alone decides whether what is begun is finished.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pi_cache.errors import PiCacheError, StorageFull
from pipeline.cluster.notes import crashes_of, keep_crashes
from pipeline.cluster.workplan import Planned, read_plan
from pipeline.engines.child import end_with_parent
from pipeline.executors import THREAD_VARIABLES
from pipeline.executors.alone import told_end
from pipeline.executors.signals import held_back, leave_to_parent

if TYPE_CHECKING:
    from pipeline.shard import ShardResult, ShardTask

ROOT = Path(__file__).resolve().parents[2]
"""Where the worker finds this package, however its parent did."""


class Worker:
    """A worker as its element sees it. shard: what it computes, None where it waits or starts."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        leash, self.leash = os.pipe()
        with held_back():
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.cluster.worker", str(folder), str(leash)],
                pass_fds=[leash],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path},
                process_group=0,  # Ctrl-C is for the element
            )
        os.close(leash)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: BinaryIO = self.process.stdin  # type: ignore[assignment]
        self.answers: BinaryIO = self.process.stdout  # type: ignore[assignment]
        self.shard: int | None = None
        self.ready = False
        self.since = time.monotonic()

    def give(self, shard: int, *, beside: bool = False) -> None:
        """Have it compute a shard. One that has died meanwhile says so when it is asked.

        beside: in a process of its own, which may die of it.
        """
        self.shard, self.since = shard, time.monotonic()
        with suppress(BrokenPipeError):
            self.requests.write(f"{json.dumps({'shard': shard, 'beside': beside})}\n".encode())
            self.requests.flush()

    def answer(self) -> dict[str, Any]:
        """What it says, once there is something to read; `ended`, in words, where it has died."""
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            return {"ended": self._death()}
        self.shard = None
        return dict(json.loads(line))

    def _death(self) -> str:
        self.close()
        return f"its worker {told_end(self.process.returncode)}; the log of the element says more"

    def close(self) -> None:
        """End it, whatever it does; by closing its input where it waits."""
        with suppress(BrokenPipeError):  # it has died before
            self.requests.close()
        if self.shard is not None or not self.ready:
            self.process.kill()
        self.process.wait()
        self.answers.close()
        os.close(self.leash)


def ready_of(workers: list[Worker], seconds: float) -> list[Worker]:
    """The workers that have said something, after at most so many seconds."""
    said, _, _ = select.select([worker.answers for worker in workers], [], [], seconds)
    return [worker for worker in workers if worker.answers in said]


def main() -> None:
    """Serve on standard input and output. Arguments: the plan's folder, the leash's descriptor."""
    leave_to_parent()
    end_with_parent(int(sys.argv[2]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    for answer in serve(read_plan(Path(sys.argv[1])), sys.stdin):
        print(json.dumps(answer), file=answers, flush=True)


def serve(planned: Planned, requests: Iterator[str]) -> Iterator[dict[str, Any]]:
    """One answer when it is ready, and one a shard."""
    from pipeline.engines import engine_of
    from pipeline.shard import build_shard, warm

    try:
        planned.check_release(_say)
        build, source = planned.build(), planned.source(_say)
        planned.check(source)
        if build.spec.gramian is None:
            engine_of(build.spec.diagram)
        warm(build.spec)
    except (PiCacheError, OSError) as error:
        yield {"unable": str(error)}
        return
    yield {"ready": True}
    for line in requests:
        asked = json.loads(line)
        shard = int(asked["shard"])
        try:
            task = planned.task(build, source, shard)
            result = _beside(planned, task) if asked["beside"] else build_shard(task)
        except MemoryError:  # an end of this process: the next try is in one of its own
            raise
        except Exception as error:
            known = isinstance(error, PiCacheError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            final = isinstance(error, StorageFull)
            yield {"shard": shard, "failed": text, "final": final}
        else:
            seconds = result.stopped - result.started
            yield {"shard": shard, "samples": result.samples, "seconds": seconds}


def _beside(planned: Planned, task: ShardTask) -> ShardResult:
    """A shard that has ended a worker before. What is found of it is kept beside the plan."""
    from pipeline.rescue import build_beside

    known = crashes_of(planned, task.shard)
    return build_beside(task, known, lambda crashed: keep_crashes(planned, task.shard, crashed))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
