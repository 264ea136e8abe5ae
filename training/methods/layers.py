"""Which stages of a student are compared with which of its teachers.

    all              every stage with that in the same place, for networks with as many stages
    last             the last stage of each
    stage2           the maps of that name of each; `pooled` too
    stage2:stage3    the student's stage2 with stage3 of every teacher
    stage2:a:b       ... with a of the first and b of the second teacher

A network's stem is not among its maps, so no method can compare it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.models.outputs import Outputs

ALL = ("all",)
LAST = ("last",)


class Pair(NamedTuple):
    """Maps that are compared: the student's (n, C, ...), and one of each teacher."""

    student: Tensor
    teachers: list[Tensor]


def pairs(student: Outputs, teachers: Sequence[Outputs], layers: Sequence[str]) -> list[Pair]:
    """The maps that `layers` name, in their order.

    Raises InvalidSpec for a name that a network has not, where `all` meets networks with other
    numbers of stages, and where the same maps would be compared twice.
    """
    names = [each for text in layers for each in _names(text, student, teachers)]
    if twice := [":".join(each) for each in dict.fromkeys(names) if names.count(each) > 1]:
        raise InvalidSpec(
            f"layers {','.join(layers)} compare {', '.join(twice)} more than once; name each once"
        )
    return [
        Pair(_named(student, own), [_named(t, n) for t, n in zip(teachers, others, strict=True)])
        for own, *others in names
    ]


def named(outputs: Outputs, layers: Sequence[str]) -> list[Tensor]:
    """The maps of one network, of names as above without a colon. Raises InvalidSpec."""
    if colons := [text for text in layers if ":" in text]:
        raise InvalidSpec(
            f"layer {', '.join(colons)} names two networks; here layers are of one, so write a"
            " name without a colon"
        )
    return [pair.student for pair in pairs(outputs, [], layers)]


def stages(outputs: Outputs) -> list[str]:
    """Names of a network's stages, in order: its maps but `pooled`."""
    return [name for name in outputs.maps if name != "pooled"]


def _names(text: str, student: Outputs, teachers: Sequence[Outputs]) -> Iterator[tuple[str, ...]]:
    """The names of student and teachers that one text stands for."""
    each = [stages(outputs) for outputs in (student, *teachers)]
    if text == "all":
        if len({len(names) for names in each}) > 1:
            found = "; ".join(", ".join(names) for names in each)
            raise InvalidSpec(
                f"student and teachers have other numbers of stages ({found}); say which to"
                " compare, such as layers=stage1:stage2,last"
            )
        yield from zip(*each, strict=True)
    elif text == "last":
        yield tuple(names[-1] for names in each)
    else:
        yield _split(text, len(teachers))


def _split(text: str, teachers: int) -> tuple[str, ...]:
    parts = text.split(":")
    if (len(parts) > 2 and len(parts) != 1 + teachers) or not all(parts):
        raise InvalidSpec(
            f"layer {text!r} names {len(parts) - 1} teachers, there are {teachers}; write NAME,"
            " STUDENT:TEACHER, or a name for each teacher"
        )
    others = parts[1:] if len(parts) > 2 else [parts[-1]] * teachers
    return (parts[0], *others)


def _named(outputs: Outputs, name: str) -> Tensor:
    if name not in outputs.maps:
        raise InvalidSpec(f"no stage {name!r}; this network has {', '.join(outputs.maps)}")
    return outputs.maps[name]
