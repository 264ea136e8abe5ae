"""Small files of each published form, and the numbers that are in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import savemat

from pipeline.recordings.motionsense import MOTION

BIN_HEADER = """Device Identity
Device Unique Serial Code:012967
Device Type:GENEActiv
Device Firmware Version:Ver1.30 date 05Aug11

Configuration Info
Measurement Frequency:{rate} Hz
Start Time:2013-05-30 10:12:49:500

Subject Info
Subject Code:{subject}

Calibration Data
x gain:25875
x offset:439
y gain:25734
y offset:-662
z gain:25538
z offset:-3056
Volts:300
Lux:800

Memory Status
Number of Pages:{pages}

"""
PAGE = """Recorded Data
Device Unique Serial Code:012967
Sequence Number:{number}
Page Time:{time}
Unassigned:
Temperature:{temperature}
Battery voltage:4.1493
Device Status:Recording
Measurement Frequency:{rate}
{digits}
"""


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file with exactly this text, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def table(rows: np.ndarray, delimiter: str = " ", ending: str = "\n") -> str:
    """Rows of numbers as text that reads back the same."""
    return "".join(delimiter.join(f"{value:.17g}" for value in row) + ending for row in rows)


def pamap2_rows(labels: Sequence[int], seed: int = 0) -> np.ndarray:
    """Rows (T, 54): times of 100 Hz, codes, a heart rate in every 11th row, 51 numbers."""
    rows = random(seed).normal(0, 80, (len(labels), 54)).round(4)
    rows[:, 0] = np.round(8.38 + np.arange(len(labels)) / 100, 2)
    rows[:, 1] = labels
    rows[:, 2] = np.where(np.arange(len(labels)) % 11 == 3, 100 + np.arange(len(labels)), np.nan)
    rows[random(seed + 1).random(rows.shape) < 0.02 * (np.arange(54) > 2)] = np.nan
    return rows


def write_pamap2(folder: Path, labels: Sequence[int], subject: int = 101) -> np.ndarray:
    rows = pamap2_rows(labels, seed=subject)
    write(folder / "Protocol" / f"subject{subject}.dat", table(rows))
    return rows


def write_uschad(
    folder: Path, *, subject: int = 1, activity: int = 3, trial: int = 2, compressed: bool = True
) -> np.ndarray:
    values = random(activity).normal(size=(50, 6))
    path = folder / f"Subject{subject}" / f"a{activity}t{trial}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"title": "USC Human Motion Database", "subject": str(subject), "age": "26"}
    savemat(
        path,
        fields | {"activity_numbr": str(activity), "sensor_readings": values},
        do_compression=compressed,
    )
    return values


def write_ucihar(
    folder: Path, split: str, subjects: Sequence[int], labels: Sequence[int]
) -> np.ndarray:
    """Returns windows (n, 128, 9) in the order of the channels of the reader."""
    windows = random(len(subjects)).normal(size=(len(subjects), 128, 9)).astype(np.float32)
    windows = np.array([[[float(f"{v:.7e}") for v in row] for row in win] for win in windows])
    signals = [
        f"{signal}_{axis}" for signal in ("total_acc", "body_acc", "body_gyro") for axis in "xyz"
    ]
    for column, signal in enumerate(signals):
        text = "".join(
            "".join(f"{value:16.7e}" for value in row) + "\n" for row in windows[:, :, column]
        )
        write(folder / split / "Inertial Signals" / f"{signal}_{split}.txt", text)
    write(folder / split / f"subject_{split}.txt", "".join(f"{k}\n" for k in subjects))
    write(folder / split / f"y_{split}.txt", "".join(f"{k}\n" for k in labels))
    return windows


def write_wisdm(folder: Path, text: str) -> Path:
    return write(folder / "WISDM_ar_v1.1_raw.txt", text)


def wisdm_rows(subject: int, words: Sequence[str], seed: int = 0) -> tuple[str, np.ndarray]:
    """Rows as the files have them at 20 Hz, and their numbers (T, 3)."""
    values = random(seed).normal(0, 5, (len(words), 3)).round(7)
    start = 49_105_962_326_000
    lines = [
        f"{subject},{word},{start + 50_000_000 * k},{x:.9g},{y:.9g},{z:.9g};\n"
        for k, (word, (x, y, z)) in enumerate(zip(words, values, strict=True))
    ]
    return "".join(lines), np.array([[float(f"{v:.9g}") for v in row] for row in values])


def write_mhealth(folder: Path, labels: Sequence[int], subject: int = 1) -> np.ndarray:
    rows = random(subject).normal(size=(len(labels), 24)).round(5)
    rows[:, 23] = labels
    write(folder / f"mHealth_subject{subject}.log", table(rows, "\t"))
    return rows


def write_motionsense(
    folder: Path, trial: str = "wlk_7", subject: int = 1, *, columns: Sequence[str] = MOTION
) -> np.ndarray:
    values = random(subject).normal(size=(30, len(columns))).round(6)
    lines = [",".join(["", *columns])]
    lines += [f"{k}," + ",".join(f"{v:.17g}" for v in row) for k, row in enumerate(values)]
    write(folder / trial / f"sub_{subject}.csv", "\n".join(lines) + "\n")
    return values


def write_sisfall(folder: Path, name: str = "D01_SA01_R01", rows: int = 40) -> np.ndarray:
    """Returns bits (T, 9)."""
    high = np.repeat([2**12, 2**15, 2**13], 3)
    bits = random(rows).integers(-high, high, (rows, 9))
    bits[:2] = [-high, high - 1]
    lines = [",".join(f"{value:4d}" for value in row) + ";\r\n" for row in bits]
    write(folder / name.split("_")[1] / f"{name}.txt", "".join(lines))
    return bits


def hexadecimal(samples: np.ndarray) -> str:
    """Digits of samples (n, 5): x, y, z from -2048, light to 1023, button."""
    return "".join(
        f"{x & 0xFFF:03X}{y & 0xFFF:03X}{z & 0xFFF:03X}{light << 2 | button << 1:03X}"
        for x, y, z, light, button in samples.tolist()
    )


def geneactiv_samples(pages: int, seed: int = 0) -> np.ndarray:
    low, high = [-2048, -2048, -2048, 0, 0], [2048, 2048, 2048, 1024, 2]
    return random(seed).integers(low, high, (300 * pages, 5))


def geneactiv_text(
    samples: np.ndarray, *, rate: str = "50.0", subject: str = "", numbers: Sequence[int] = ()
) -> str:
    """A whole .bin file; numbers: of its pages, which tell their times too."""
    pages = len(samples) // 300
    text = BIN_HEADER.format(rate=rate, subject=subject, pages=pages)
    for k, number in enumerate(numbers or range(pages)):
        milliseconds = round(number * 300_000 / float(rate))
        clock = f"{10 + milliseconds // 60_000:02d}:{milliseconds // 1000 % 60:02d}"
        text += PAGE.format(
            number=number,
            time=f"2013-05-30 10:{clock}:{milliseconds % 1000:03d}",
            temperature=20 + k,
            rate=rate,
            digits=hexadecimal(samples[300 * k : 300 * k + 300]),
        )
    return text


def geneactiv_csv(values: np.ndarray, *, rate: int = 100, subject: str = "S7") -> str:
    """The export of values (T, 3), with the header of 100 lines."""
    header = ["Device Type,GENEActiv           ", "Device Model,1.1"] + [""] * 8
    header += [f"Measurement Frequency,{rate} Hz", "Start Time,2013-05-30 10:12:54:500"]
    header += [""] * 8 + [f"Subject Code,{subject}"]
    header += [""] * (100 - len(header))
    rows = []
    for k, (x, y, z) in enumerate(values):
        at = 54_500 + round(1000 * k / rate)
        clock = f"10:{12 + at // 60_000}:{at // 1000 % 60:02d}:{at % 1000:03d}"
        rows.append(f"2013-05-30 {clock},{x:.4f},{y:.4f},{z:.4f},{k % 7},0,26.1")
    return "\n".join(header + rows) + "\n"
