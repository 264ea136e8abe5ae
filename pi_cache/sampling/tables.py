"""Tables in CSV files, as people write them: a header, then a row for each sample."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pi_cache import files
from pi_cache.errors import InvalidSpec


def read_csv(path: Path, *, required: Sequence[str] = ()) -> dict[str, list[str]]:
    """Every column by its name in the header, spaces around names and values taken off.

    Raises InvalidSpec for a file that is no such table, FileNotFoundError, StorageFailed.
    """
    try:
        text = files.read_bytes(path).decode("utf-8-sig")  # spreadsheets write a mark first
        reader = csv.reader(io.StringIO(text), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidSpec(f"{path}: not a CSV file in UTF-8: {error}") from None
    header = [name.strip() for name in rows[0][1]] if rows else []
    missing = [name for name in required if name not in header]
    if missing or len(set(header)) != len(header):
        raise InvalidSpec(
            f"{path}: the first line must name each column once, with"
            f" {', '.join(required)} among them; it is {','.join(header)[:80]!r}"
        )
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InvalidSpec(f"{path}: line {line} has {len(row)} values for {len(header)} names")
    columns = zip(*(row for _, row in rows[1:]), strict=True) if rows[1:] else [()] * len(header)
    return {
        name: [value.strip() for value in column]
        for name, column in zip(header, columns, strict=True)
    }
