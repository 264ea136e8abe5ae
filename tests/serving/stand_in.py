"""In place of the pipeline: stores that are made already, copied a shard at a time.

    python -m tests.serving.stand_in resolve|run ...

It speaks as `pipeline.ondemand` does. $PI_STAND_IN is a folder with a finished store for each
number of samples that may be asked for; $PI_STAND_IN.wait beside it holds the seconds that a shard
takes, and $PI_STAND_IN.fails, where it is there, what a build says before it fails. Each shard that
is begun leaves a mark in $PI_STAND_IN.marks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("PI_STAND_IN", "nowhere"))
WAIT, FAILS, MARKS = (FOLDER.with_name(f"{FOLDER.name}.{x}") for x in ("wait", "fails", "marks"))


def resolve(question: dict[str, Any]) -> None:
    """Answer which store is meant: that of so many samples; and what it takes."""
    asked = question["asked"]
    if asked.get("recipe") == "nope":
        print(json.dumps({"refused": "no recipe 'nope'", "kind": "InvalidSpec"}), flush=True)
        return
    found = json.loads((FOLDER / str(asked["sources"][0]["limit"]) / "spec.json").read_text())
    found.pop("checksum")
    print(json.dumps({"source": 0, "spec": found, "keys": [found["key"]]}), flush=True)
    estimate = {"bytes": 75_800, "files": 20, "shards": 3, "seconds": 1.0, "shard_samples": 8}
    print(json.dumps({**estimate, "adds": {"bytes": 90_000, "files": 30}}), flush=True)


def run(words: list[str]) -> None:
    """Build the store of a spec: copy what is not there yet, shard by shard."""
    spec = json.loads(Path(words[words.index("--spec") + 1]).read_text())
    target = Path(words[words.index("--cache") + 1]) / "stores" / spec["key"]
    made = FOLDER / str(spec["source"]["samples"])
    if FAILS.exists():
        sys.exit(f"a warning\npipeline: {FAILS.read_text()}")
    for name in ("spec.json", "blueprint.json", "ledger/table.json"):
        copy(made / name, target / name)
    for record in sorted((made / "ledger").glob("0*.json")):
        if not (target / "ledger" / record.name).exists():
            (MARKS / f"{record.stem}.{os.getpid()}.{uuid.uuid4().hex}").touch()
            time.sleep(float(WAIT.read_text()))
            copy(record, target / "ledger" / record.name)
    for path in sorted((made / "data.zarr").rglob("*")):
        if path.is_file():
            copy(path, target / path.relative_to(made))
    copy(made / "manifest.json", target / "manifest.json")


def copy(path: Path, target: Path) -> None:
    """Make a file appear as a whole, as another builder of the same store may."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{uuid.uuid4().hex}.part")
        shutil.copyfile(path, part)
        part.replace(target)


def end_with_parent() -> None:
    """As `pipeline.ondemand`: end once standard input does."""
    while os.read(0, 1024):
        pass
    os._exit(130)


if __name__ == "__main__":
    line = sys.stdin.readline() if sys.argv[1] == "resolve" else ""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
    threading.Thread(target=end_with_parent, daemon=True).start()
    if line:
        resolve(json.loads(line))
    else:
        run(sys.argv[3:])
