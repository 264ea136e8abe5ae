"""Recordings to be changed: every kind of file that the readers of wearables know.

What was there before travels with the files, in a hidden one that no reader lists, and is compared
with what is read as the damage says.
"""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import PiCacheError
from pipeline.recordings import Recording, Recordings, open_recordings
from pipeline.sources import open_source
from tests.faults import Loop, demand, scratch
from tests.faults.hostile import SLOW, Target, ask
from tests.faults.hostile_sources import change_one, read_whole
from tests.faults.recording_damages import DAMAGES, Files
from tests.recordings import made

TRUTH = ".truth/"
"""Where the rows lie that were there before, in a file with the name of what must come of them."""
LONGEST_MESSAGE = 1500
WINDOWS = {"window": 10, "step": 5, "label_rule": "first", "missing": "keep"}

Write = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A data set in one of its forms.

    write: makes a small one. beside: a name that fits too. text: whether its files are. words:
    the rule where a field became another word, "" for that of the damage: it may name a label or
    a subject, or be digits of samples.
    """

    dataset: str
    write: Write
    beside: str
    options: Mapping[str, Any] = field(default_factory=dict)
    text: bool = True
    words: str = ""

    @property
    def files(self) -> dict[str, bytes]:
        """The files by path, as they were made."""
        return dict(_files(self.write))

    def open(self, folder: Path) -> Recordings:
        """What lies in a folder."""
        return open_recordings(self.dataset, folder, **self.options)


@cache
def _files(write: Write) -> Mapping[str, bytes]:
    with scratch() as folder:
        write(folder)
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def rows_of(recordings: Recordings) -> np.ndarray:
    """All values, labels and whose they are (T, C + 2). Raises Violation for what is not sane.

    Labels and subjects are numbers of their names, whatever codes they have in a listing.
    """
    return np.concatenate([_checked(recording, recordings) for recording in recordings])


def _checked(recording: Recording, among: Recordings) -> np.ndarray:
    values, labels, times = recording.values, recording.labels, recording.times
    where = f"{recording.file}:"
    demand(not np.isinf(values).any(), f"{where} an infinite value")
    demand(times is None or not np.isinf(times).any(), f"{where} an infinite time")
    demand(set(labels.tolist()) <= {-1, *among.facts.labels}, f"{where} labels {set(labels)}")
    demand(all(note and len(note) < LONGEST_MESSAGE for note in recording.notes), f"{where} notes")
    names = {code: _numbered(name) for code, name in among.facts.labels.items()}
    named = [names.get(code, -1.0) for code in labels.tolist()]
    return np.column_stack([values, named, np.full(len(values), _numbered(recording.subject))])


def _numbered(name: str) -> float:
    return float(zlib.crc32(name.encode()))


def read(folder: Path, kind: Kind) -> None:
    """Read all there is, as recordings and as windows. Raises Violation for what must not come."""
    rule, before = _truth(folder)
    try:
        recordings = kind.open(folder)
        told = [*recordings.notes, *(note for one in recordings for note in one.notes)]
        rows = rows_of(recordings)
    except PiCacheError as error:
        demand(rule != "same", f"refused, and all is there: {error}")
        demand(str(folder) in str(error), f"names no file: {error}")
        demand(len(str(error)) < LONGEST_MESSAGE, f"says too much: {str(error)[:300]}")
        raise
    if rule == "same":
        demand(np.array_equal(rows, before, equal_nan=True), "other rows than before")
    if rule == "values":
        rows, before = rows[:, :-2], before[:, :-2]
    if rule in ("known", "values"):
        demand(told or len(rows) >= len(before), f"{len(rows)} of {len(before)} rows, and no word")
    if rule in ("fewer", "known", "values"):
        strange = next(_strange(rows, before), None)
        demand(strange is None, f"row {strange} was not there before")
    source = open_source(f"{kind.dataset}:{folder}", **WINDOWS, **kind.options)
    read_whole(source)


def _truth(folder: Path) -> tuple[str, np.ndarray]:
    for path in (folder / TRUTH).glob("*.npy"):
        return path.stem, np.load(path, allow_pickle=False)
    return "", np.empty((0, 0))


def _strange(rows: np.ndarray, before: np.ndarray) -> Iterator[int]:
    """Numbers of the rows that are none of those before; NaN may stand for any value."""
    demand(not len(rows) or rows.shape[1:] == before.shape[1:], "other channels than before")
    known = {row.tobytes() for row in before}
    for number, row in enumerate(rows):
        if row.tobytes() not in known:
            told = ~np.isnan(row)
            if not (row[told] == before[:, told]).all(axis=1).any():
                yield number


def damaged(kind: Kind, name: str, chance: random.Random) -> Files:
    """The files of a kind after a damage, with what was there before."""
    damage, files = DAMAGES[name], kind.files
    then = damage.then if kind.text or damage.one is None else damage.binary
    then = kind.words if kind.words and damage.words else then
    done: Files = dict(files)
    if damage.all is not None:
        done = damage.all(done, kind.beside, chance)
    elif damage.one is not None and (kind.text or name != "bytes of Windows"):
        which = chance.choice(sorted(files))
        done[which] = damage.one(files[which], chance)
    return {**done, f"{TRUTH}{then}.npy": _packed(kind.write)}


@cache
def _packed(write: Write) -> bytes:
    """The rows of a kind as they were made."""
    kind = next(kind for kind in KINDS.values() if kind.write is write)
    stream = io.BytesIO()
    with scratch() as folder:
        write(folder)
        np.save(stream, rows_of(kind.open(folder)))
    return stream.getvalue()


def round_of(seed: int) -> str:
    """Damage one kind and read it; how that went. Each kind meets each damage in turn."""
    names, damages = sorted(KINDS), sorted(DAMAGES)
    name, damage = names[seed % len(names)], damages[seed // len(names) % len(damages)]
    word, told, seconds = ask(name, damaged(KINDS[name], damage, random.Random(seed)))
    demand(word in ("read", "refused"), f"{name}, {damage}: {told}")
    demand(seconds < SLOW, f"{name}, {damage}: took {seconds:.0f} seconds")
    return f"{name}, {damage}: {word}"


def _wisdm(folder: Path) -> None:
    words = ["Walking", "Sitting"] * 15
    text = made.wisdm_rows(7, words)[0] + made.wisdm_rows(33, words, 1)[0]
    made.write_wisdm(folder, text)


def _wisdm_2019(folder: Path) -> None:
    made.write(folder / "data_1600_accel_watch.txt", made.wisdm_rows(1600, ["B"] * 40)[0])


def _bin(folder: Path) -> None:
    made.write(folder / "a.bin", made.geneactiv_text(made.geneactiv_samples(3), subject="가 1"))


def _csv(folder: Path) -> None:
    values = made.random().normal(size=(40, 3)).round(4)
    made.write(folder / "a.csv", made.geneactiv_csv(values))


def _columns() -> dict[str, list[Any]]:
    rows = made.random().normal(size=(40, 2)).round(5)
    return {
        "t": [k / 10 for k in range(40)],
        "누구": ["가", "나"] * 20,
        "x": rows[:, 0].tolist(),
        "y": rows[:, 1].tolist(),
        "활동": ["걷기", "앉기"] * 20,
    }


def _table(folder: Path) -> None:
    columns = _columns()
    lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    made.write(folder / "a.csv", "\n".join([",".join(columns), *lines]) + "\n")


def _plain_table(folder: Path) -> None:
    rows = made.random().normal(size=(40, 3)).round(5)
    made.write(folder / "a.csv", "s,x,y\n" + made.table(rows, ","))


def _parquet(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(_columns()), folder / "a.parquet")


def _uschad(folder: Path) -> None:
    made.write_uschad(folder)


def _uschad_plain(folder: Path) -> None:
    made.write_uschad(folder, compressed=False)


def _ucihar(folder: Path) -> None:
    made.write_ucihar(folder, "train", [1, 1, 3, 11, 11, 3], [1, 2, 3, 4, 5, 6])


def _pamap2(folder: Path) -> None:
    made.write_pamap2(folder, [1, 1, 1, 0, 24, 24] * 8)


def _mhealth(folder: Path) -> None:
    made.write_mhealth(folder, [0, 1, 2] * 12)


def _motionsense(folder: Path) -> None:
    made.write_motionsense(folder)


def _sisfall(folder: Path) -> None:
    made.write_sisfall(folder)


COLUMNS = {"values": ["y", "x"], "label": "활동", "subject": "누구", "time": "t"}

KINDS = {
    "pamap2": Kind(dataset="pamap2", write=_pamap2, beside="Protocol/subject102.dat"),
    "usc-had": Kind(dataset="usc-had", write=_uschad, beside="Subject2/a1t1.mat", text=False),
    "usc-had plain": Kind(
        dataset="usc-had", write=_uschad_plain, beside="Subject2/a1t1.mat", text=False
    ),
    "uci-har": Kind(dataset="uci-har", write=_ucihar, beside="test/subject_test.txt"),
    "wisdm": Kind(dataset="wisdm", write=_wisdm, beside="old/WISDM_ar_v1.1_raw.txt"),
    "wisdm-2019": Kind(dataset="wisdm-2019", write=_wisdm_2019, beside="data_1601_gyro_watch.txt"),
    "mhealth": Kind(dataset="mhealth", write=_mhealth, beside="mHealth_subject2.log"),
    "motionsense": Kind(dataset="motionsense", write=_motionsense, beside="wlk_7/sub_2.csv"),
    "sisfall": Kind(dataset="sisfall", write=_sisfall, beside="SA02/D01_SA02_R01.txt"),
    "geneactiv bin": Kind(dataset="geneactiv", write=_bin, beside="b.bin", words="any"),
    "geneactiv csv": Kind(dataset="geneactiv", write=_csv, beside="b.csv"),
    "table": Kind(dataset="table", write=_table, beside="b.csv", options=COLUMNS, words="values"),
    "plain table": Kind(
        dataset="table",
        write=_plain_table,
        beside="b.tsv",
        options={"values": ["y", "x"], "rate": 5.0},
    ),
}
if find_spec("pyarrow"):  # an extra of the user's own
    KINDS["parquet"] = Kind(
        dataset="table",
        write=_parquet,
        beside="b.parquet",
        options=COLUMNS,
        text=False,
        words="values",
    )

TARGETS = {
    name: Target(partial(_files, kind.write), change_one, partial(read, kind=kind))
    for name, kind in KINDS.items()
}

LOOPS = {"hostile recordings": Loop(round_of, len(KINDS) * len(DAMAGES), 200_000)}
"""Every kind meets every damage once."""
