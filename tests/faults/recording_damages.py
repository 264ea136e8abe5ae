"""What is done to recordings: to the bytes of one of their files, or to what lies around them.

A damage says what must come of it: `same`, all rows as before; `fewer`, no row that was not there
before, with its label and its person; `known`, so too, and a note where any is lost; `values`, so
too, but labels and persons may be others; `any`, whatever is sane. A refusal is fine in all but
the first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.hostile import Content
from tests.faults.mutations import mutated

Files = dict[str, Content]
OneFile = Callable[[bytes, random.Random], Content]
AllFiles = Callable[[Files, str, random.Random], Files]
"""Of the files, and a name that fits the data set too."""
LineChange = Callable[[list[bytes], int, random.Random], None]
"""Of the lines of a file, at one of them."""


@dataclass(frozen=True)
class Damage:
    """A change of one file's bytes, or of all files. then: the rule for what may be read.

    binary: the rule where the file is no text. words: whether it writes other words in the place
    of a field.
    """

    then: str
    one: OneFile | None = None
    all: AllFiles | None = None
    binary: str = "any"
    words: bool = False


def _lines(change: LineChange) -> OneFile:
    """A change of the lines of a file, at a line drawn among the last ones, where rows are."""

    def done(data: bytes, chance: random.Random) -> bytes:
        lines = data.splitlines(keepends=True) or [b""]
        change(lines, chance.randrange(len(lines) // 2, len(lines)), chance)
        return b"".join(lines)

    return done


def _lose(lines: list[bytes], at: int, chance: random.Random) -> None:
    del lines[at]


def _twice(lines: list[bytes], at: int, chance: random.Random) -> None:
    lines.insert(at, lines[at])


def _joined(lines: list[bytes], at: int, chance: random.Random) -> None:
    lines[at] = lines[at].rstrip(b"\r\n")


def _broken(lines: list[bytes], at: int, chance: random.Random) -> None:
    place = chance.randrange(len(lines[at]) + 1)
    lines[at] = lines[at][:place] + b"\n" + lines[at][place:]


def _short(lines: list[bytes], at: int, chance: random.Random) -> None:
    """Without a field."""
    parts, sign = _fields(lines[at])
    del parts[chance.randrange(len(parts))]
    lines[at] = sign.join(parts) + b"\n"


def _long(lines: list[bytes], at: int, chance: random.Random) -> None:
    """With a field twice."""
    parts, sign = _fields(lines[at])
    place = chance.randrange(len(parts))
    parts.insert(place, parts[place])
    lines[at] = sign.join(parts) + b"\n"


def _fields(line: bytes) -> tuple[list[bytes], bytes]:
    sign = next((sign for sign in (b",", b"\t") if sign in line), b" ")
    return line.rstrip(b"\r\n").split(sign), sign


def _put(*texts: bytes) -> OneFile:
    """Another text in the place of a field."""

    def put(lines: list[bytes], at: int, chance: random.Random) -> None:
        parts, sign = _fields(lines[at])
        parts[chance.randrange(len(parts))] = chance.choice(texts)
        lines[at] = sign.join(parts) + b"\n"

    return _lines(put)


def _nan_run(lines: list[bytes], at: int, chance: random.Random) -> None:
    """One field of several lines is NaN, or nothing."""
    column, what = chance.randrange(1000), chance.choice([b"NaN", b"nan", b""])
    for k in range(at, min(at + 8, len(lines))):
        parts, sign = _fields(lines[k])
        parts[column % len(parts)] = what
        lines[k] = sign.join(parts) + b"\n"


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _cut_end(data: bytes, chance: random.Random) -> bytes:
    return data[: len(data) - chance.randrange(1, min(len(data), 80) + 1)]


def _cut_start(data: bytes, chance: random.Random) -> bytes:
    return data[chance.randrange(len(data)) :]


def _inside(*pieces: bytes) -> OneFile:
    """A piece put somewhere."""

    def put(data: bytes, chance: random.Random) -> bytes:
        at = chance.randrange(len(data) + 1)
        return data[:at] + chance.choice(pieces) + data[at:]

    return put


def _other_sign(data: bytes, chance: random.Random) -> bytes:
    sign = _fields(data.splitlines()[-1])[1]
    return data.replace(sign, chance.choice([b";", b"|", b"\t", b", ", b" ,"]))


def _decimal_commas(data: bytes, chance: random.Random) -> bytes:
    return data.replace(b".", b",")


def _instead(*contents: Content) -> OneFile:
    return lambda data, chance: chance.choice(contents)


def _windows_text(data: bytes, chance: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _utf16(data: bytes, chance: random.Random) -> bytes:
    return data.decode("latin-1").encode("utf-16")


NAMES = (
    "한국어 폴더",
    "데이터 😀",
    "with space",
    "a'b\"c;d$(e)",
    "%2e%2e",
    "ㅎㅏㄴㄱㅡㄹ",
    "-x",
    "#1@2",
)


def _moved(files: Files, beside: str, chance: random.Random) -> Files:
    above = "/".join(chance.sample(NAMES, chance.randrange(1, 4)))
    return {f"{above}/{name}": data for name, data in files.items()}


def _junk(files: Files, beside: str, chance: random.Random) -> Files:
    first = min(files)
    folder, _, name = first.rpartition("/")
    return {
        **files,
        f"__MACOSX/{first}": b"\0\5\x16\7",
        f"{folder or '.'}/._{name}": b"\0\5\x16\7",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "메모.docx": b"PK\3\4",
        ".DS_Store": b"\0\0\0\1Bud1",
        "empty folder": "folder",
    }


def _copied(files: Files, beside: str, chance: random.Random) -> Files:
    return {**files, **{f"사본 (2)/{name}": data for name, data in files.items()}}


def _beside(*specials: str) -> AllFiles:
    """What is no file, with a name that fits."""
    return lambda files, beside, chance: {**files, beside: chance.choice(specials)}


HUGE = (b"1e400", b"-1e400", b"9" * 400, b"1" * 5000)
WORDS = (
    b"abc",
    "없음".encode(),
    b"0x1F",
    b"1_000",
    b"1,5",
    b"1.2.3",
    b"--1",
    b"1e",
    b"inf",
    b"\xff",
)
PAGES = (
    b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>\n",
    b"version https://git-lfs.github.com/spec/v1\nsize 2\n",
    b"\x89HDF\r\n\x1a\n" + bytes(512),
    b"PK\3\4" + bytes(100),
    "이것은 숫자가 아닙니다\n".encode() * 20,
)
NO_FILES = ("pipe", "endless", "dangling", "loop", "folder")

DAMAGES: dict[str, Damage] = {
    "cut": Damage("fewer", _cut, binary="fewer"),
    "cut near the end": Damage("fewer", _cut_end, binary="fewer"),
    "cut at the start": Damage("any", _cut_start),
    "empty": Damage("known", _instead(b""), binary="known"),
    "blank lines": Damage("known", _instead(b"\n", b" \r\n\r\n", b"\n" * 5000), binary="known"),
    "line lost": Damage("fewer", _lines(_lose)),
    "line twice": Damage("known", _lines(_twice)),
    "lines joined": Damage("known", _lines(_joined)),
    "line broken": Damage("known", _lines(_broken)),
    "field lost": Damage("known", _lines(_short)),
    "field twice": Damage("any", _lines(_long)),
    "word": Damage("known", _put(*WORDS), words=True),
    "huge number": Damage("known", _put(*HUGE), words=True),
    "run of NaN": Damage("known", _lines(_nan_run), words=True),
    "NUL": Damage("known", _inside(b"\0", bytes(40), bytes(4096))),
    "huge line": Damage("known", _inside(b"9" * (3 << 20), b"a," * (1 << 20))),
    "bytes of Windows": Damage("same", _windows_text),
    "UTF-16": Damage("known", _utf16),
    "noise": Damage("any", _inside(*[random.Random(k).randbytes(300) for k in range(4)])),
    "other delimiter": Damage("any", _other_sign),
    "decimal commas": Damage("any", _decimal_commas),
    "another file": Damage("known", _instead(*PAGES), binary="known"),
    "changed": Damage("any", lambda data, chance: mutated(data, chance)),
    "no file": Damage("known", _instead(*NO_FILES, "sick", "sparse"), binary="known"),
    "missing": Damage("fewer", all=lambda files, beside, chance: _less(files, chance)),
    "odd folders": Damage("same", all=_moved),
    "junk": Damage("same", all=_junk),
    "copies": Damage("known", all=_copied),
    "no file beside": Damage("same", all=_beside(*NO_FILES)),
    "folder loop": Damage("known", all=lambda files, beside, chance: {**files, "again": "above"}),
}
"""By name; each is met by every kind."""


def _less(files: Files, chance: random.Random) -> Files:
    gone = chance.choice(sorted(files))
    return {name: data for name, data in files.items() if name != gone}
