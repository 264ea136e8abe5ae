"""What a store of Gramian angular fields holds, and how the fields of one sample came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import GramianSpec, Status
from pipeline.gramian.fields import decoded, outside, real_values
from pipeline.reports.coverage import coverage, flat_warnings
from pipeline.reports.explain import sample_facts
from pipeline.reports.inputs import input_warnings
from pipeline.reports.text import WIDTH, report_lines
from pipeline.reports.windows import window_line, window_warnings
from pipeline.statistics import USABLE

FORMULAS = {
    "summation": "cos(phi_i + phi_j), symmetric, and 2 x^2 - 1 on the diagonal",
    "difference": "sin(phi_i - phi_j), antisymmetric, and 0 on the diagonal",
}
RATHER_MANY = 0.01
"""A larger share of values that are clipped changes what the fields show of their windows."""
TOLD_PROBLEMS = 3
PLURALS = {"second": "seconds", "sample": "samples", "window": "of the window"}


def parse_gramian(store: Store) -> GramianSpec:
    """The spec of the fields of a store. Raises InvalidSpec where it holds something else."""
    if store.spec.gramian is None:
        raise InvalidSpec(f"store {store.key[:12]} holds {store.spec.representation}")
    return store.spec.gramian


def describe(spec: GramianSpec) -> list[str]:
    """How the fields of a store were made, a line a step."""
    means = f"means of {spec.pixels} equal segments"
    if isinstance(spec.range, tuple):
        low, high = spec.range
        steps = f"{low:g} and {high:g} become -1 and 1, values outside clipped; then {means}"
    elif spec.range == "window":
        steps = f"smallest and largest value of each channel become -1 and 1; then {means}"
    else:
        steps = f"{means} of each channel; then the smallest and largest of these become -1 and 1"
    lines = [f"x: {steps}", f"{spec.name}: {FORMULAS[spec.form]}, with phi = arccos(x)"]
    if spec.dtype == "uint8":
        how = "rounded" if spec.rounding == "nearest" else "truncated"
        lines.append(f"bytes: 255 (value + 1) / 2, {how}; read back as 2 byte / 255 - 1")
    return lines


def facts_of(store: Store) -> dict[str, Any]:
    """What is known of a store of fields, as plain values: counted when it was built.

    values, clipped_values: of usable samples, those outside a range of two numbers. flat_channels:
    channels that are one value, of which the fields are -1 or 0 everywhere. extent: length of a
    window, in `unit`. windows, inputs: see `pipeline.reports`. Raises InvalidSpec for a store of
    something else.
    """
    spec, seen = parse_gramian(store), store.manifest.statistics
    note = store.column("images").attributes
    return {
        **coverage(store),
        "representation": store.spec.representation,
        "gramian": spec.to_dict(),
        "fields": list(store.channels),
        "unit": note["unit"],
        "cell_width": note["cell_width"]["time"],
        "extent": note["cell_width"]["time"] * spec.pixels,
        "values": seen["values"],
        "clipped_values": seen["clipped_values"],
        "clipped_samples": seen["clipped_samples"],
    }


def fact_lines(facts: Mapping[str, Any], width: int = WIDTH) -> list[str]:
    """The facts of a store, for people. width: see `report_lines`."""
    spec = GramianSpec.from_dict(facts["gramian"])
    status = ", ".join(f"{count:,} {name}" for name, count in facts["status"].items())
    unit = facts["unit"]
    lines = {
        "key": [facts["key"]],
        "holds": [f"{spec.name} of {spec.pixels} x {spec.pixels} pixels, {spec.dtype}"],
        "made": describe(spec),
        "samples": [f"{facts['samples']:,}: {status}"],
        "fields": [", ".join(facts["fields"])],
        "axes": [
            f"time and other_time, {facts['extent']:g} {unit}s in cells of"
            f" {facts['cell_width']:.4g}"
            if unit != "window"
            else f"time and other_time, as parts of a window: cells of 1/{spec.pixels}"
        ],
        "clipped": [f"{facts['clipped_values']:,} of {facts['values']:,} values"]
        if isinstance(spec.range, tuple)
        else [],
        "flat": [f"{facts['flat_channels']:,} channels of usable samples"],
    }
    told = {name: facts[name] for name in ("problems", "windows", "inputs")}
    return [
        *(f"{name:<20} {line}" for name, texts in lines.items() for line in texts),
        *report_lines(told, width),
    ]


def warnings_of(facts: Mapping[str, Any]) -> list[str]:
    """What a user should know before using the store, worst first; empty when all is well."""
    lines = []
    unusable = {name: count for name, count in facts["status"].items() if name != "OK"}
    if unusable:
        counts = ", ".join(f"{count:,} {name}" for name, count in unusable.items())
        told = [f"{name}: {text}" for name, text in facts["problems"].items()][:TOLD_PROBLEMS]
        lines.append("; ".join([f"{counts}: not delivered to training", *told]))
    if facts["clipped_values"]:
        low, high = facts["gramian"]["range"]
        share = facts["clipped_values"] / facts["values"]
        many = "; a wider --range shows them" if share > RATHER_MANY else ""
        lines.append(
            f"{facts['clipped_values']:,} of {facts['values']:,} values ({share:.2g}) of"
            f" {facts['clipped_samples']:,} samples lie outside {low:g}..{high:g}, and are clipped"
            + many
        )
    return [
        *lines,
        *flat_warnings(facts["flat_channels"]),
        *input_warnings(facts["inputs"]),
        *window_warnings(facts["windows"]),
    ]


def explain_sample(
    store: Store, sample: int, pixel: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """How the field of each channel of a sample came about, as plain values.

    pixel: the row and column to explain; the largest one of each field otherwise.
    """
    spec = parse_gramian(store)
    known = sample_facts(store, sample)
    if pixel is not None and not all(0 <= place < spec.pixels for place in pixel):
        raise InvalidSpec(f"pixel must lie in 0..{spec.pixels - 1} twice, got {pixel}")
    usable = Status[known["status"]] in USABLE
    fields = decoded(store.read("images", [sample])[0], spec)  # (C, size, size)
    signals = signals_of(store, sample)
    return {
        **known,
        "gramian": spec.to_dict(),
        "unit": store.column("images").attributes["unit"],
        "channels": [
            {
                "name": channel,
                "signal": None if signals is None else _signal_facts(signals[k], spec),
                **_pixel_facts(store, fields[k] if usable else None, pixel),
            }
            for k, channel in enumerate(store.channels)
        ],
    }


def signals_of(store: Store, sample: int) -> np.ndarray | None:
    """The signals (C, T) of a sample as they are scaled; None where inputs are not stored."""
    if "inputs" not in store.columns:
        return None
    maximum = store.column("inputs").attributes.get("maximum")
    values: np.ndarray = real_values(store.read("inputs", [sample]), maximum)[0]
    return values


def _signal_facts(signal: np.ndarray, spec: GramianSpec) -> dict[str, Any]:
    """Extremes of one channel, and how many of its values are clipped; None if not finite."""
    finite = bool(np.isfinite(signal).all())
    clipped = int(outside(signal, spec.range).sum()) if isinstance(spec.range, tuple) else 0
    return {
        "length": len(signal),
        "lowest": float(signal.min()) if finite else None,
        "highest": float(signal.max()) if finite else None,
        "clipped": clipped,
    }


def _pixel_facts(
    store: Store, field: np.ndarray | None, pixel: tuple[int, ...] | None
) -> dict[str, Any]:
    """What one pixel stands for, and its value: None where there is no field."""
    if pixel is None and field is not None:
        pixel = divmod(int(field.argmax()), field.shape[1])
    if pixel is None:
        return {"pixel": None, "value": None, "time": None, "other_time": None}
    cells = {}
    for axis, place in zip(("time", "other_time"), pixel, strict=True):
        low = float(store.axis(axis)[place])
        cells[axis] = [low, low + store.column("images").attributes["cell_width"][axis]]
    value = None if field is None else float(field[pixel[0], pixel[1]])
    return {"pixel": list(pixel), "value": value, **cells}


def explanation_lines(facts: Mapping[str, Any]) -> list[str]:
    """What `explain_sample` found, in words."""
    label = f" ({facts['label']})" if facts["label"] else ""
    problem = f": {facts['problem']}" if facts["problem"] else ""
    lines = [
        f"sample   {facts['sample']}{label}",
        f"status   {facts['status']}{problem}",
        *([] if facts["window"] is None else [f"window   {window_line(facts['window'])}"]),
        *(f"field    {line}" for line in describe(GramianSpec.from_dict(facts["gramian"]))),
    ]
    if Status[facts["status"]] not in USABLE:
        return [*lines, "channel  none has a field: the sample is not usable"]
    for channel in facts["channels"]:
        lines.append(f"channel  {channel['name']}{_signal_text(channel['signal'])}")
        lines.append(f"         {_pixel_line(channel, facts['unit'])}")
    return lines


def _signal_text(signal: Mapping[str, Any] | None) -> str:
    if signal is None:
        return ""
    text = f": {signal['length']} values, {signal['lowest']:.6g} to {signal['highest']:.6g}"
    if signal["lowest"] == signal["highest"]:
        return f"{text}: constant, and so is its field"
    return f"{text}, {signal['clipped']} of them clipped" if signal["clipped"] else text


def _pixel_line(channel: Mapping[str, Any], unit: str) -> str:
    (row, column), value = channel["pixel"], channel["value"]
    times = " and ".join(
        "{:.4g} to {:.4g}".format(*channel[axis]) for axis in ("time", "other_time")
    )
    return f"pixel {row},{column} is {value:.3g}: at {times} {PLURALS[unit]}"
