"""How samples are divided, and whether stores hold the same ones."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.commands.options import cache_option, examples, json_option, say
from pi_cache.commands.table import table_lines
from pi_cache.errors import InvalidFolds, MismatchedStores
from pi_cache.reader import Store, open_store
from pi_cache.sampling.foldfiles import from_file, to_file
from pi_cache.sampling.folds import (
    Fold,
    class_name,
    from_splits,
    leave_groups_out,
    leave_one_group_out,
    stratified,
    with_validation,
)
from pi_cache.sampling.joins import Joined, Source, open_together, short
from pi_cache.sampling.leakage import Leak, find_leaks, groupless, refuse
from pi_cache.sampling.samples import Numbers, content_digests, left_out, listed, read_arrays

file_option = click.Path(path_type=Path, dir_okay=False)
existing_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@examples(
    "pi-cache folds 3f2a9c --stratified 4 --seed 0",
    "pi-cache folds 3f2a9c --stratified 3 --validation 0.2 --out folds.json",
)
@click.command("folds")
@click.argument("store")
@click.option("--leave-one-group-out", "one_group", is_flag=True, help="A fold for each group.")
@click.option(
    "--leave-groups-out",
    "some_groups",
    type=click.IntRange(1),
    metavar="K",
    help="K groups a fold.",
)
@click.option(
    "--stratified", "count", type=click.IntRange(2), metavar="N", help="N folds, classes alike."
)
@click.option("--splits", "by_splits", is_flag=True, help="One fold: the stored splits.")
@click.option("--file", "file", type=existing_file, help="Folds by id: id,fold or id,split; JSON.")
@click.option("--partial", is_flag=True, help="Samples that the file does not name are left out.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws by this number.")
@click.option("--groups", is_flag=True, help="Keep groups whole in --stratified and --validation.")
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Take a validation part from each training part.",
)
@click.option("--split", help="Divide the samples of this split only.")
@click.option(
    "--always-train",
    metavar="A,B",
    help="Groups that no fold tests, such as those that a scale was fitted on.",
)
@click.option("--inputs", is_flag=True, help="Look for equal stored inputs on two sides as well.")
@click.option("--out", type=file_option, help="Write the folds, by id, as JSON.")
@cache_option
@json_option
def show_folds(store: str, cache: Path | None, as_json: bool, **options: Any) -> None:
    """Divide the OK samples of STORE, and say what each fold lacks and leaks.

    Exit status 1, and no file, when windows of one group (a subject, say) lie on two sides of a
    fold, windows that overlap, or a test of what a scale was fitted on. For subjects:
    --leave-one-group-out. The numbers are views: nothing is copied.
    """
    way = _parse_way(options)
    opened = open_store(store, root=cache)
    among = _among(opened, options["split"])
    folds = _made(way, opened, among, options)
    contents = content_digests(opened) if options["inputs"] else None
    checked, leaks = find_leaks(folds, opened, contents=contents)
    rows = [_row(fold, opened, leaks) for fold in folds]
    absent, alone = left_out(opened, among), groupless(folds, opened)
    if as_json:
        head = {"key": opened.key, "left_out": absent, "checked": checked, "without_group": alone}
        document = {**head, "folds": rows}
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        for line in table_lines([HEADER, *map(_cells, rows)], right=(1, 2, 3)):
            click.echo(line)
    if absent:
        say(f"left out, not OK: {', '.join(f'{name} {count}' for name, count in absent.items())}")
    if "groups" not in checked:
        say("no groups in this store: whether subjects lie on two sides cannot be told")
    elif alone:
        say(f"{alone} samples have no group: whether theirs lie on two sides cannot be told")
    if any(leak.kind == "groups" for leak in leaks) and not options["groups"]:
        say("--leave-one-group-out, or --groups with the other ways, keeps groups whole")
    refuse(leaks)
    if options["out"] is not None:
        to_file(options["out"], folds, opened)
        say(f"folds written to {options['out']}")


HEADER = ("fold", "train", "validation", "test", "classes missing", "shared")
WAYS = ("one_group", "some_groups", "count", "by_splits", "file")


def _parse_way(options: dict[str, Any]) -> str:
    given = [name for name in WAYS if options[name] not in (None, False)]
    if len(given) != 1:
        raise click.UsageError(
            "give one of --leave-one-group-out, --leave-groups-out, --stratified, --splits, --file"
        )
    if given[0] == "file" and options["split"] is not None:
        raise click.UsageError("--split does not go with --file, which names its samples")
    if given[0] != "file" and options["partial"]:
        raise click.UsageError("--partial goes with --file")
    if options["out"] is not None and options["out"].suffix.lower() != ".json":
        raise click.UsageError(f"--out writes JSON: give a name with .json, got {options['out']}")
    if options["always_train"] is not None and given[0] not in ("one_group", "some_groups"):
        raise click.UsageError("--always-train goes with --leave-one-group-out, --leave-groups-out")
    if options["groups"] and given[0] != "count" and options["validation"] is None:
        raise click.UsageError("--groups goes with --stratified or --validation")
    return given[0]


def _among(store: Store, split: str | None) -> NDArray[np.bool_] | None:
    if split is None:
        return None
    mask = np.zeros(len(store), bool) if store.splits is None else store.splits == split
    if not mask.any():
        known = [] if store.splits is None else sorted(set(store.splits.tolist()))
        raise InvalidFolds(f"no split {split!r} in this store; it has {listed(known) or 'none'}")
    return mask


def _made(way: str, store: Store, among: Any, options: dict[str, Any]) -> list[Fold]:
    """The folds that were asked for, with their validation parts."""
    seed, whole = options["seed"], store.groups if options["groups"] else None
    if options["groups"] and whole is None:
        raise InvalidFolds("--groups: these samples have no groups to keep whole")
    if way in ("one_group", "some_groups"):
        whole = store.groups
    always = [name.strip() for name in (options["always_train"] or "").split(",") if name.strip()]
    made: Sequence[Fold]
    if way == "one_group":
        made = leave_one_group_out(store, among=among, always_train=always)
    elif way == "some_groups":
        k = options["some_groups"]
        made = leave_groups_out(store, k, seed=seed, among=among, always_train=always)
    elif way == "count":
        made = stratified(store, options["count"], seed=seed, groups=whole, among=among)
    elif way == "by_splits":
        made = [from_splits(store, among=among)]
    else:
        made = from_file(options["file"], store, partial=options["partial"])
    share = options["validation"]
    if share is None:
        return list(made)
    return [with_validation(fold, store, share, seed=seed, groups=whole) for fold in made]


def _row(fold: Fold, store: Store, leaks: Sequence[Leak]) -> dict[str, Any]:
    """What there is to say of a fold, as plain JSON values."""
    classes = set(np.unique(store.labels).tolist()) - {-1}
    sides = {side: numbers for side, numbers in fold.sides.items() if len(numbers)}
    missing = {side: _missing(store, numbers, classes) for side, numbers in sides.items()}
    return {
        "name": fold.name,
        **{side: len(numbers) for side, numbers in fold.sides.items()},
        "missing": {side: names for side, names in missing.items() if names},
        "leaks": [
            {"kind": k.kind, "sides": k.sides, "names": k.names, "counts": k.counts}
            for k in leaks
            if k.fold == fold.name
        ],
    }


def _missing(store: Store, numbers: Numbers, classes: set[int]) -> list[str]:
    absent = classes - set(np.unique(store.labels[numbers]).tolist())
    return [class_name(store, label) for label in sorted(absent)]


def _cells(row: dict[str, Any]) -> list[str]:
    missing = "; ".join(f"{side}: {listed(names)}" for side, names in row["missing"].items())
    shared = "; ".join(
        f"{'/'.join(leak['sides'])}: {len(leak['names'])} {leak['kind']}" for leak in row["leaks"]
    )
    counts = [str(row[side]) for side in ("train", "validation", "test")]
    return [row["name"], *counts, missing or "-", shared or "-"]


@examples("pi-cache join 3f2a9c 3f2a11", "pi-cache join 3f2a9c 3f2a11 --only-common --json")
@click.command("join")
@click.argument("stores", nargs=-1, required=True)
@click.option("--only-common", is_flag=True, help="Match what all of them hold; count the rest.")
@cache_option
@json_option
def show_join(
    stores: tuple[str, ...], only_common: bool, cache: Path | None, as_json: bool
) -> None:
    """Match STORES by sample id: whether they hold the same samples, and how they differ.

    A CSV file with a column id (and label, group, split where known) stands for other data, such
    as signals. Exit status 1 when they do not match.
    """
    sources = _opened(stores, cache)
    try:
        joined = open_together(sources, only_common=only_common)
    except MismatchedStores as error:
        if not as_json:
            raise
        click.echo(json.dumps({"match": False, "problems": error.problems}, ensure_ascii=False))
        say(f"pi-cache: {error}")
        sys.exit(1)
    document = _join_document(joined)
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    say(f"{', '.join(sources)} match by id: {len(joined)} samples, OK in all")
    for line in table_lines(_join_rows(document), right=(1, 2)):
        click.echo(line)


def _opened(stores: Sequence[str], cache: Path | None) -> dict[str, Source]:
    if len(stores) < 2:
        raise click.UsageError("give two stores or more")
    seen: Counter[str] = Counter()
    opened: dict[str, Source] = {}
    for store in stores:
        is_table = store.lower().endswith(".csv")
        if is_table and not files.exists(Path(store)):
            raise click.UsageError(f"{store}: no such file")
        source = read_arrays(Path(store)) if is_table else open_store(store, root=cache)
        name = source.key[:12] if isinstance(source, Store) else Path(store).name
        seen[name] += 1
        opened[name if seen[name] == 1 else f"{name} ({seen[name]})"] = source
    return opened


def _join_document(joined: Joined) -> dict[str, Any]:
    return {
        "match": True,
        "samples": len(joined),
        "stores": {
            name: {"samples": len(member.source), "left_out": member.left_out}
            for name, member in joined.members.items()
        },
        "differences": joined.differences,
    }


def _join_rows(document: dict[str, Any]) -> list[list[str]]:
    rows = [["store", "samples", "joined", "left out", "differs from the first"]]
    for name, store in document["stores"].items():
        left = ", ".join(f"{reason} {count}" for reason, count in store["left_out"].items())
        fields = document["differences"].get(name, {})
        differs = "; ".join(
            f"{field} {short(one)} / {short(other)}" for field, (one, other) in fields.items()
        )
        counts = [str(store["samples"]), str(document["samples"])]
        rows.append([name, *counts, left or "-", differs or "-"])
    return rows
