"""A plan of runs: arms, of which some teach others, over folds and seeds; read from TOML.

    seeds = [0, 1, 2]

    [data]
    stores = { pi = "1965c1d474a7" }

    [defaults]
    view = "inputs"
    model = "wrn-16-1"
    config = { epochs = 20 }

    [[arms]]
    name = "teacher"
    model = "wrn-16-3"
    seeds = [0]

    [[arms]]
    name = "kd"
    method = "kd"
    settings = { temperature = 4 }
    teachers = ["teacher"]

Paths are relative to the file of the plan.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.nearest import hint
from pi_cache.remote.address import is_remote
from training.runs.settings import NO_START, made_spec
from training.runs.spec import RunSpec
from training.runs.values import check_kinds
from training.tasks import DataSpec
from training.trained import PICKS

TOP = ("seeds", "folds", "data", "defaults", "arms")
SHARED = (
    "preset", "view", "normalise", "model", "model_options", "method", "settings", "teachers",
    "start", "augment", "allow_stale", "config", "data", "seeds",
)  # fmt: skip
KINDS: Mapping[str, tuple[type, str]] = {
    **dict.fromkeys(("data", "defaults", "config", "model_options", "settings"), (dict, "a table")),
    **dict.fromkeys(("stores", "arrays"), (dict, "a table")),
    **dict.fromkeys(("seeds", "teachers", "augment"), (list, "a list")),
    **dict.fromkeys(("preset", "view", "normalise", "model", "method", "start"), (str, "a text")),
    **dict.fromkeys(("root", "folds"), (str, "a text")),
    "allow_stale": (bool, "true or false"),
}
"""What the words of a plan and of its tables hold."""
RESERVED = ("replaced", "tmp")
"""Folders of a plan's own."""
ALL = "all"
NOWHERE = Path("unnamed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One kind of run. settings: see `settings.made_spec`, without what other arms give.

    teachers: (arm, pick) or (path, ""), in order; start: likewise or None. seeds: of its own.
    """

    name: str
    settings: Mapping[str, Any]
    teachers: tuple[tuple[str, str], ...]
    start: tuple[str, str] | None
    seeds: tuple[int, ...]

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """Teachers, and the start if there is one."""
        return (*self.teachers, *filter(None, (self.start,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Arms in an order in which each comes after those that it needs.

    folds: names of folds, () where the stored splits divide; ("all",) for every fold of the file.
    """

    data: Mapping[str, Any]
    folds: tuple[str, ...]
    arms: tuple[Arm, ...]

    def arm(self, name: str) -> Arm | None:
        """The arm of a name, None where that is no arm."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def data_spec(self, fold: str | None) -> DataSpec:
        """What all arms train on, in one fold."""
        return DataSpec(**{**self.data, "fold": fold})

    def spec(
        self, arm: Arm, fold: str | None, seed: int, teachers: Sequence[str], start: str | None
    ) -> RunSpec:
        """One run of an arm; teachers and start as paths. Raises InvalidSpec."""
        own = arm.settings.get("data", {})
        data = DataSpec(**{**self.data, "fold": fold, **own})
        return made_spec(arm.settings, data=data, seed=seed, teachers=teachers, start=start)

    def teacher_seed(self, teacher: str, seed: int) -> int:
        """The seed of a teacher of a run: the same one, else the only one that the teacher has."""
        arm = self.arm(teacher)
        assert arm is not None
        return seed if seed in arm.seeds else arm.seeds[0]


def read_plan(path: Path, *, seeds: Sequence[int] | None = None) -> Plan:
    """The plan in a file. seeds: in place of the plan's, for arms without seeds of their own.

    Raises InvalidSpec that lists every problem, FileNotFoundError.
    """
    try:
        document = tomllib.loads(files.read_bytes(path).decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path} is no readable TOML: {error}") from error
    if seeds is not None:
        document["seeds"] = list(seeds)
    try:
        return parse_plan(document, folder=path.absolute().parent)
    except InvalidSpec as error:
        raise InvalidSpec(f"{path}: {error}") from error


def parse_plan(document: Mapping[str, Any], *, folder: Path) -> Plan:
    """The plan of a document. folder: that paths are relative to.

    Raises InvalidSpec that lists every problem: unknown words, arms that need unknown arms or each
    other, settings that no run has.
    """
    problems = _words(document)
    if problems:
        raise InvalidSpec("; ".join(problems))
    data = _placed(document.get("data", {}), folder)
    defaults, tables = document.get("defaults", {}), document["arms"]
    names = [str(table["name"]) for table in tables]
    seeds = tuple(document.get("seeds", (0,)))
    arms = [_arm(_merged(defaults, table), names, seeds, folder) for table in tables]
    problems += [*_seeds(arms), *_needs(arms), *_cycle(arms)]
    if problems:
        raise InvalidSpec("; ".join(problems))
    plan = Plan(data=data, folds=_folds(document, data), arms=tuple(_ordered(arms)))
    problems = _specs(plan)
    if problems:
        raise InvalidSpec("; ".join(problems))
    return plan


def _words(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with the words of a plan, whatever arms and stores there are."""
    tables = document.get("arms", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return ["arms must be tables that begin with [[arms]], each with a name"]
    plain = {name: value for name, value in document.items() if name not in ("arms", "folds")}
    problems = _table(plain, TOP, "the plan")
    problems += _data_words(document.get("data"), "[data]")
    defaults = document.get("defaults", {})
    if not isinstance(defaults, dict):
        return problems  # which say so
    named = [(f"arm {each.get('name', '?')}", each) for each in tables]
    for where, table in (("[defaults]", defaults), *named):
        problems += _table(table, ("name", *SHARED) if table in tables else SHARED, where)
        problems += _data_words(table.get("data"), f"data of {where}")
    problems += [
        f"{where}: settings are those of a method, and it has none"
        for where, table in named
        if "settings" in table and not {"method", "teachers"} & {*defaults, *table}
    ]
    return [*problems, *_names(tables)]


def _table(table: Any, known: Iterable[str], where: str) -> list[str]:
    """Words that a table has and should not have, and those that hold something else."""
    if not isinstance(table, dict):
        return []  # said where the table itself is a word
    kinds = {name: (table[name], *KINDS[name]) for name in table if name in KINDS}
    return [
        *_unknown(table, known, where),
        *(
            f"{where}: {name} must be {shown}, got {value!r}"
            for name, (value, kind, shown) in kinds.items()
            if not isinstance(value, kind)
        ),
    ]


def _data_words(table: Any, where: str) -> list[str]:
    if not isinstance(table, dict):
        return []
    problems = _table(table, [each.name for each in fields(DataSpec)], where)
    try:
        check_kinds(DataSpec, table, where)
    except InvalidSpec as error:
        problems.append(str(error))
    return problems


def _unknown(table: Mapping[str, Any], known: Iterable[str], where: str) -> list[str]:
    return [f"{where} has no {name!r}{hint(name, known)}" for name in table if name not in [*known]]


def _names(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [table.get("name") for table in tables]
    if not all(isinstance(name, str | None) for name in names):
        return ["the name of an arm must be a text"]
    problems = ["a plan needs [[arms]], each with a name"] if not names or None in names else []
    for name in dict.fromkeys(filter(None, names)):
        if names.count(name) > 1:
            problems.append(f"two arms are called {name!r}")
        if not name.strip(".") or set(name) & set("/\\: \t\n"):
            problems.append(f"arm {name!r}: a name is a folder's, without / : and spaces")
        if name in RESERVED:
            problems.append(f"arm {name!r}: the plan has a folder of that name; give another one")
    return problems


def _placed(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """[data] with the paths in it made absolute; keys of stores stay as they are."""
    placed = dict(data)
    for name in ("stores", "arrays"):
        if name in placed:
            placed[name] = {k: _path(str(v), folder) for k, v in placed[name].items()}
    for name in ("folds", "root"):
        if placed.get(name) is not None:
            placed[name] = str(folder / placed[name])
    return placed


def _path(text: str, folder: Path) -> str:
    """A path relative to the plan where one lies there or it looks like one; else as it is."""
    if is_remote(text):
        return text
    place = folder / text
    is_path = "/" in text or text.endswith((".npz", ".zarr")) or files.exists(place)
    return str(place) if is_path else text


def _merged(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """An arm with the defaults, table by table: an arm's config changes some fields only."""
    merged = {**defaults, **table}
    for name in ("config", "model_options", "data"):
        if name in defaults and name in table:
            merged[name] = {**defaults[name], **table[name]}
    return merged


def _arm(table: dict[str, Any], names: Sequence[str], seeds: tuple[int, ...], folder: Path) -> Arm:
    teachers = [_need(text, names, folder) for text in table.pop("teachers", [])]
    start = table.pop("start", None)
    if "data" in table:
        table["data"] = _placed(table["data"], folder)
    return Arm(
        name=table.pop("name"),
        seeds=tuple(table.pop("seeds", seeds)),
        settings=table,
        teachers=tuple(teachers),
        start=None if start is None else _need(start, names, folder),
    )


def _need(text: str, names: Sequence[str], folder: Path) -> tuple[str, str]:
    """An arm and which of its epochs, or a path outside the plan."""
    head, _, pick = str(text).rpartition(":")
    name, pick = (head, pick) if head and pick in PICKS else (str(text), "")
    if name in (*names, NO_START) or "/" not in name:
        return name, pick
    return str(folder / name), pick


def _seeds(arms: Sequence[Arm]) -> list[str]:
    by_name = {arm.name: arm for arm in arms}
    problems = []
    for arm in arms:
        whole = [seed for seed in arm.seeds if isinstance(seed, int) and seed >= 0]
        if not arm.seeds or len(set(whole)) != len(arm.seeds):
            problems.append(f"arm {arm.name}: seeds are different whole numbers, got {arm.seeds}")
        for name, _ in arm.needs:
            teacher = by_name.get(name)
            absent = [] if teacher is None else sorted(set(arm.seeds) - set(teacher.seeds))
            if absent and teacher is not None and len(teacher.seeds) > 1:
                problems.append(
                    f"arm {arm.name} has seed {absent[0]}, and its teacher {name} has"
                    f" {', '.join(map(str, teacher.seeds))}: give it all of them, or one"
                )
    return problems


def _needs(arms: Sequence[Arm]) -> list[str]:
    names = [arm.name for arm in arms]
    return [
        f"arm {arm.name} needs {name!r}, which is no arm{hint(name, names)}; a run outside the"
        " plan is a path with a /"
        for arm in arms
        for name, _ in arm.needs
        if name not in (*names, NO_START) and "/" not in name
    ]


def _cycle(arms: Sequence[Arm]) -> list[str]:
    left = {arm.name for arm in arms} - {arm.name for arm in _ordered(arms)}
    return [f"arms {', '.join(sorted(left))} need each other, so that none can be first"] * bool(
        left
    )


def _ordered(arms: Sequence[Arm]) -> list[Arm]:
    """Arms after those that they need, else as written; those of a cycle are left out."""
    names = {arm.name for arm in arms}
    ordered: list[Arm] = []
    waiting = list(arms)
    while waiting:
        done = {arm.name for arm in ordered}
        ready = [a for a in waiting if all(n in done or n not in names for n, _ in a.needs)]
        if not ready:
            break
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def _folds(document: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, ...]:
    folds = document.get("folds")
    if data.get("folds") is None:
        if folds is not None:
            raise InvalidSpec("folds needs the file that they are in: [data] folds = FILE")
        return ()
    if data.get("fold") is not None:
        return (str(data["fold"]),)
    if folds in (None, ALL):
        return (ALL,)
    names = tuple(map(str, folds if isinstance(folds, list) else [folds]))
    if not names or len(set(names)) < len(names):
        raise InvalidSpec(f"folds are different names of folds, or all of them, got {folds!r}")
    return names


def _specs(plan: Plan) -> list[str]:
    """What is wrong with the run of each arm, found before any run begins."""
    problems = []
    fold = plan.folds[0] if plan.folds else None
    for arm in plan.arms:
        try:
            paths = [str(NOWHERE / name) for name, _ in arm.teachers]
            start = None if arm.start is None else arm.start[0]
            plan.spec(arm, fold, arm.seeds[0], paths, start)
        except (PiCacheError, TypeError) as error:
            problems.append(f"arm {arm.name}: {error}")
    return problems
