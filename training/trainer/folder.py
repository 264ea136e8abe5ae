"""The folder of a run: what it is, its log, its states, and what it gave.

run.json                 what it is; written first
state-0003.safetensors   after 3 epochs; state-0003-000120.safetensors 120 steps later
log.jsonl                a line an epoch, no more of them than the newest state knows or has had
best, last.safetensors   the network of the chosen epoch and of the last one
result.json              what it gave; written last, and then no state is needed any more
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidSpec, UnsupportedFormat, WrittenMeanwhile
from training.trainer.state import DamagedState, State, read_state, write_state

FORMAT = 1
KEPT = 2
"""States that are kept: the newest, and one before it for the case that it is damaged."""
NAMED = re.compile(r"state-(\d{4,})(?:-(\d{6,}))?\.safetensors")
NOTES = {"provenance", "not_checked"}
"""Of a caller's record, what may be another one: what made it, and what was not at hand."""
PLACES = {"root", "folds", "stores"}
"""Of a spec of data, what may be another one: where its stores and sides lie."""
SHOWN = 8
"""Differences that a refusal names."""


class Place(NamedTuple):
    """How far a state has come: epochs done, and steps of the next one."""

    epochs: int
    steps: int

    @property
    def name(self) -> str:
        """Of the file."""
        steps = f"-{self.steps:06d}" if self.steps else ""
        return f"state-{self.epochs:04d}{steps}.safetensors"


class RunFolder:
    """Reads and writes the files of a run. Only one process writes."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.temporary = self.path / "tmp"

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Say what this run is, or find that it is the one that is here.

        What made it may differ, such as releases and the command, and where its samples lie.

        Raises AlreadyPublished that names the differences from the run that is here, InvalidSpec
        for a record that JSON cannot hold.
        """
        identity = _plain({"format_version": FORMAT, **identity})
        file = self.path / "run.json"
        if not files.exists(file):
            with contextlib.suppress(AlreadyPublished):  # by another process: compared below
                files.publish(file, _document(identity), temporary=self.temporary)
        files.sweep(self.temporary)
        found = self._read(file)
        if different := differences(_compared(found), _compared(identity)):
            more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
            raise AlreadyPublished(
                f"{self.path} holds another run: {'; '.join(different[:SHOWN])}{more}; give another"
                " folder, or the same settings to go on with it",
                (file,),
            )

    def identity(self) -> dict[str, Any]:
        """What this run is, as it was said first."""
        return self._read(self.path / "run.json")

    def result(self) -> dict[str, Any] | None:
        """What the run gave, None where it has not ended."""
        file = self.path / "result.json"
        return self._read(file) if files.exists(file) else None

    def newest(self, say: Callable[[str], None]) -> State | None:
        """The newest state that can be read; a damaged one is moved away, and said.

        Raises UnsupportedFormat for one of another release, which is left where it is.
        """
        for place in reversed(self._places()):
            path = self.path / place.name
            try:
                return read_state(path)
            except DamagedState as error:
                say(f"{error}; going on from the one before")
                files.move_aside(path, self.path / "damaged")
        return None

    def save(self, place: Place, state: State) -> None:
        """Write a state, then remove all but the newest ones.

        Raises WrittenMeanwhile where another process has come as far in this folder, or further.
        """
        ahead = [self.path / other.name for other in self._places() if other > place]
        if files.exists(result := self.path / "result.json"):
            ahead.append(result)
        try:
            if ahead:
                raise AlreadyPublished(f"{ahead[-1]}: not of this process", tuple(ahead))
            write_state(self.path / place.name, state, temporary=self.temporary)
        except AlreadyPublished as error:
            raise WrittenMeanwhile(
                f"{error.paths[-1]} was written by another process that trains in this folder; let"
                " one of them do it",
                error.paths,
            ) from error
        for old in self._places()[:-KEPT]:
            files.remove(self.path / old.name)

    def write_log(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Make the log these lines. Between the old one and the new there is none for a moment:
        nothing is ever renamed over, and every line is in the newest state too."""
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        file = self.path / "log.jsonl"
        if files.exists(file) and files.read_bytes(file) == text:
            return
        files.remove(file)
        files.publish(file, text, temporary=self.temporary)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write what the run gave, and remove what only an unfinished run needs."""
        document = _document({"format_version": FORMAT, **result})
        files.publish(self.path / "result.json", document, temporary=self.temporary)
        self.clear()

    def clear(self) -> None:
        """Remove states and temporaries of a run that has ended."""
        for place in self._places():
            files.remove(self.path / place.name)
        for folder in (self.temporary, self.path):  # networks are written beside their names
            files.sweep(folder, older=0)

    def _places(self) -> list[Place]:
        """Of the states that are here, the newest last."""
        found = [NAMED.fullmatch(path.name) for path in files.listing(self.path)]
        return sorted(Place(int(m[1]), int(m[2] or 0)) for m in found if m is not None)

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(files.read_bytes(file))
            version = document["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnsupportedFormat(
                f"{file} is no document of a run ({error!r:.80}); give another folder, or move it"
                " away and run the same command again"
            ) from error
        if version != FORMAT:
            raise UnsupportedFormat(f"{file}: format {version!r}, this release reads {FORMAT}")
        return document


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read back. Raises InvalidSpec."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(identity))
    except (TypeError, ValueError) as error:
        raise InvalidSpec(
            f"a run is described by plain values, which JSON can hold ({error}); make paths and"
            " numbers of numpy plain, as in record={'path': str(path)}"
        ) from error
    return plain


def _compared(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What must be the same: contents, by their digests, and not where they lie or what made them.

    Specs are not compared where a record's identity stands for them, nor places of data and names
    of networks where digests do. A name of one's own, such as a store `root`, is no place.
    """
    record = {k: v for k, v in document.get("record", {}).items() if k not in NOTES}
    data = dict(document.get("data", {}))
    if isinstance(record.get("identity"), Mapping):
        record.pop("spec", None)
        data.pop("data", None)
    whole = {**document, "data": data, "record": record}
    return _unplaced(whole) if data.keys() >= {"stores", "files", "digests"} else whole


def _unplaced(value: Any) -> Any:
    """A value without places of data and names of networks, at any depth."""
    if isinstance(value, list):
        return [_unplaced(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    left: set[str] = set()
    if isinstance(value.get("stores"), Mapping) and value.keys() >= PLACES:
        left = PLACES
    elif value.keys() >= {"name", "sha256", "spec_digest"}:
        left = {"name"}
    return {k: _unplaced(v) for k, v in value.items() if k not in left}


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """A phrase for each value in which two documents differ, by its dotted name."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = dict.fromkeys((*found, *wanted))
        return [
            phrase
            for key in keys
            for phrase in differences(found.get(key), wanted.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if found == wanted else [f"{name} is {_short(found)} there and {_short(wanted)} here"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _document(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
