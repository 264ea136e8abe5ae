"""Files that are cut, mangled or something else: a clear refusal, or what is left of the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.recordings import Recording, open_recordings
from pipeline.recordings import text as text_module
from tests.recordings import made


@dataclass(frozen=True)
class Form:
    """A data set whose files are of one form; make: writes one into a folder."""

    name: str
    file: str
    make: Callable[[Path], Any]
    options: dict[str, Any] | None = None

    def read(self, folder: Path) -> Recording:
        """The first recording, with what the listing tells among its notes."""
        recordings = open_recordings(self.name, folder, **(self.options or {}))
        recording = recordings.read(0)
        return replace(recording, notes=(*recordings.notes, *recording.notes))


def _wisdm(folder: Path) -> None:
    made.write_wisdm(folder, made.wisdm_rows(7, ["Walking"] * 30)[0])


def _wisdm_2019(folder: Path) -> None:
    made.write(folder / "data_1600_accel_watch.txt", made.wisdm_rows(1600, ["B"] * 30)[0])


def _bin(folder: Path) -> None:
    made.write(folder / "a.bin", made.geneactiv_text(made.geneactiv_samples(2)))


def _csv(folder: Path) -> None:
    values = made.random().normal(size=(30, 3)).round(4)
    made.write(folder / "a.csv", made.geneactiv_csv(values))


def _table(folder: Path) -> None:
    rows = made.random().normal(size=(30, 3)).round(5)
    made.write(folder / "a.csv", "s,x,y\n" + made.table(rows, ","))


FORMS = [
    Form("pamap2", "Protocol/subject101.dat", lambda f: made.write_pamap2(f, [1, 0, 24] * 3)),
    Form("usc-had", "Subject1/a3t2.mat", made.write_uschad),
    Form(
        "uci-har",
        "train/Inertial Signals/body_acc_x_train.txt",
        lambda f: made.write_ucihar(f, "train", [1, 1, 1], [1, 2, 3]),
    ),
    Form("wisdm", "WISDM_ar_v1.1_raw.txt", _wisdm),
    Form("wisdm-2019", "data_1600_accel_watch.txt", _wisdm_2019),
    Form("mhealth", "mHealth_subject1.log", lambda f: made.write_mhealth(f, [0, 1, 2] * 5)),
    Form("motionsense", "wlk_7/sub_1.csv", made.write_motionsense),
    Form("sisfall", "SA01/D01_SA01_R01.txt", made.write_sisfall),
    Form("geneactiv", "a.bin", _bin),
    Form("geneactiv", "a.csv", _csv),
    Form("table", "a.csv", _table, {"values": ["y", "x"], "rate": 5.0}),
]
NAMES = [f"{form.name} {form.file[-4:]}" for form in FORMS]


@pytest.fixture(params=FORMS, ids=NAMES)
def form(request: pytest.FixtureRequest, tmp_path: Path) -> Form:
    chosen: Form = request.param
    chosen.make(tmp_path)
    return chosen


def outcome(form: Form, folder: Path) -> Recording | None:
    """The recording, or None where it is refused by a sentence that names the place."""
    try:
        return form.read(folder)
    except SourceError as error:
        assert str(folder) in str(error)
        assert len(str(error)) < 700
        return None


def test_wherever_a_file_is_cut_no_number_is_wrong(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "BLOCK", 1000)
    whole = form.read(tmp_path)
    path = tmp_path / form.file
    data = path.read_bytes()
    ends = range(len(data) - 60, len(data))
    for end in {*ends, *made.random(1).integers(0, len(data), 90).tolist()}:
        path.write_bytes(data[:end])
        left = outcome(form, tmp_path)
        if left is not None:
            assert len(left) <= len(whole)
            np.testing.assert_array_equal(left.values, whole.values[: len(left)])
            np.testing.assert_array_equal(left.labels, whole.labels[: len(left)])
            between_rows = data[:end].rstrip(b"\r").endswith((b"\n", b";"))
            assert left.notes or len(left) == len(whole) or between_rows


def _shuffled(data: bytes) -> bytes:
    return bytes(made.random().permutation(list(data)).astype(np.uint8))


MANGLED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "a line break": lambda data: b"\n",
    "noise": lambda data: made.random().bytes(5000),
    "noise without zeros": lambda data: made.random().bytes(5000).replace(b"\0", b"\x01"),
    "shuffled": _shuffled,
    "zeros at the end": lambda data: data + bytes(4096),
    "noise at the end": lambda data: data + made.random().bytes(500),
    "zeros in the middle": lambda data: data[: len(data) // 2] + bytes(40) + data[len(data) // 2 :],
    "without line breaks": lambda data: data.replace(b"\n", b" "),
    "one long line": lambda data: data + b"9" * (3 << 20),
    "long numbers": lambda data: data + b"1" * 5000 + b",2,3,4,5,6;\n",
    "wide": lambda data: data.decode("latin-1").encode("utf-16"),
    "words": lambda data: "이것은 숫자가 아닙니다\n".encode() * 20,
    "a web page": lambda data: b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>\n",
    "a pickle": lambda data: b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "a pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\nsize 2\n",
}


@pytest.mark.parametrize("mangled", MANGLED)
def test_what_is_no_file_of_the_form_is_refused_or_told(
    form: Form, tmp_path: Path, mangled: str
) -> None:
    whole = form.read(tmp_path)
    path = tmp_path / form.file
    path.write_bytes(MANGLED[mangled](path.read_bytes()))
    left = outcome(form, tmp_path)
    if left is not None:
        kept = ~np.isnan(left.values)
        np.testing.assert_array_equal(left.values[kept], whole.values[: len(left)][kept])
        assert len(left) == len(whole) or left.notes


@pytest.mark.parametrize("form", [form for form in FORMS if not form.file.endswith(".mat")])
def test_the_same_numbers_with_a_mark_and_line_ends_of_windows(form: Form, tmp_path: Path) -> None:
    form.make(tmp_path)
    whole = form.read(tmp_path)
    path = tmp_path / form.file
    plain = path.read_bytes().replace(b"\r\n", b"\n")
    path.write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    again = form.read(tmp_path)
    np.testing.assert_array_equal(again.values, whole.values)
    np.testing.assert_array_equal(again.labels, whole.labels)


def test_a_run_of_missing_values_is_missing(tmp_path: Path) -> None:
    rows = made.pamap2_rows([1] * 50)
    rows[10:40, 3:] = np.nan
    made.write(tmp_path / "subject101.dat", made.table(rows))
    values = open_recordings("pamap2", tmp_path).read(0).values
    assert np.isnan(values[10:40, 1:]).all()
    np.testing.assert_array_equal(values, rows[:, 2:])
