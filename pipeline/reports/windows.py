"""Windows of recordings: where each was cut, and how many there are of whom doing what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pi_cache.reader import Store
from pi_cache.sampling.windows import Window
from pi_cache.specs import Status
from pipeline.recordings import DATASETS

UNKNOWN = "unknown"
"""The subject, or the class, of a window that has none."""
SHORT = 14
"""A class with a longer name is known by its code in a table."""


def holds_windows(store: Store) -> bool:
    """Whether the ids of a store say where each sample was cut out of a recording."""
    return "ids" in store.attributes


def window_counts(store: Store) -> dict[str, Any] | None:
    """How many windows there are by subject and class; None where ids do not tell recordings.

    counts: of windows with the status OK, a row a subject and a column a class. codes: what each
    class is called in a table. lost: those with another status, by subject and status. missing:
    classes of which a subject has no window. absent: classes that the data set has, and of which
    there is no window at all.
    """
    if not holds_windows(store):
        return None
    status = np.asarray(store.status)
    delivered = status == Status.OK
    subjects, owner = _subjects(store)
    classes, kind = _classes(store)
    counts = np.zeros((len(subjects), len(classes)), np.int64)
    np.add.at(counts, (owner[delivered], kind[delivered]), 1)
    known = np.bincount(kind, minlength=len(classes)) > 0
    present = [name for name, here in zip(classes, known, strict=True) if here]
    counts = counts[:, known]
    lost = Counter(zip(owner[~delivered].tolist(), status[~delivered].tolist(), strict=True))
    return {
        "recordings": len({Window.parse(str(name)).recording for name in store.ids}),
        "subjects": subjects,
        "classes": present,
        "codes": dict(zip(classes, _codes(store, classes), strict=True)),
        "counts": counts.tolist(),
        "lost": [
            {Status(code).name: lost[row, code] for code in sorted(set(status.tolist()))
             if lost[row, code]}
            for row in range(len(subjects))
        ],
        "missing": {
            subject: [name for name, count in zip(present, row, strict=True) if not count]
            for subject, row in zip(subjects, counts.tolist(), strict=True)
            if 0 in row
        },
        "absent": [name for name, here in zip(classes, known, strict=True) if not here],
    }  # fmt: skip


def _subjects(store: Store) -> tuple[list[str], np.ndarray]:
    """The subjects, and the number of each window's own (n,)."""
    groups = [""] * len(store) if store.groups is None else [str(name) for name in store.groups]
    names = sorted(set(groups), key=_natural)
    number = {name: k for k, name in enumerate(names)}
    owner = np.array([number[name] for name in groups], np.int64)
    return [name or UNKNOWN for name in names], owner


def _natural(name: str) -> tuple[int, str]:
    """Numbers in their order: 9 before 10."""
    return len(name) if name.isdigit() else 0, name


def _classes(store: Store) -> tuple[list[str], np.ndarray]:
    """The classes, and the number of each window's own (n,)."""
    labels = np.asarray(store.labels)
    names = list(store.label_names) or [str(k) for k in range(int(labels.max(initial=-1)) + 1)]
    if (labels < 0).any():
        labels = np.where(labels < 0, len(names), labels)
        names = [*names, UNKNOWN]
    return names, labels


def _codes(store: Store, classes: Sequence[str]) -> list[str]:
    """What a class is called in a table: its name where all are short, else what files call it."""
    if all(len(name) <= SHORT for name in classes):
        return list(classes)
    dataset = DATASETS.get(store.spec.source.kind)
    written = {} if dataset is None else dataset.facts.written
    names = {} if dataset is None else {dataset.facts.labels[k]: w for w, k in written.items()}
    number = {name: str(k) for k, name in enumerate(store.label_names)}
    return [names.get(name) or number.get(name, name) for name in classes]


def window_warnings(facts: Mapping[str, Any] | None) -> list[str]:
    """Subjects that lack classes which others have, a line for all."""
    missing = {} if facts is None else facts["missing"]
    if facts is None or not missing:
        return []
    most = max(missing.values(), key=len)
    several = "1 subject has" if len(missing) == 1 else f"{len(missing)} subjects have"
    first = next(subject for subject, names in missing.items() if names is most)
    lacking = f"{len(most)} of {len(facts['classes'])}"
    return [
        f"{several} no window of some classes, subject {first} of {lacking}: a fold that leaves"
        " such a subject out is not tested on them"
    ]


def window_facts(store: Store, sample: int) -> dict[str, Any] | None:
    """Where a sample was cut out of a recording: subject, file, start, length, rate.

    start, length: in samples of the recording, the first one is 0. None where ids do not say so.
    """
    if not holds_windows(store):
        return None
    window = Window.parse(str(store.ids[sample]))
    subject = "" if store.groups is None else str(store.groups[sample])
    return {
        "dataset": store.spec.source.kind,
        "subject": subject,
        "recording": window.recording,
        "start": window.start,
        "length": window.length,
        "recorded_rate": window.recorded,
        "samples": window.samples,
        "rate": window.rate,
    }


def window_line(window: dict[str, Any]) -> str:
    """Where a window was cut, in words."""
    recorded, start, length = (window[name] for name in ("recorded_rate", "start", "length"))
    became = ""
    if (window["samples"], window["rate"]) != (length, recorded):
        became = f", as {window['samples']} at {window['rate']:g} Hz"
    return (
        f"{length} samples at {recorded:g} Hz from sample {start:,} ({start / recorded:.6g} s) of"
        f" {window['recording']}, subject {window['subject'] or 'unknown'}{became}"
    )
