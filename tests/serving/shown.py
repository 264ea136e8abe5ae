"""A cache of every kind of store that the page shows: of pictures, of signals with samples that
fail, of Gramian angular fields, imported, and with names that are markup."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner

import pipeline.cli
from pi_cache.layout import Layout, SampleTable, imported_columns, standard_columns
from pi_cache.ledger import finish, missing_shards, write_shard
from pi_cache.specs import OriginSpec, StoreSpec
from pi_cache.store import begin
from tests.pi_cache.made import (
    CHANNELS,
    INPUTS,
    fill_store,
    make_columns,
    make_spec,
    make_table,
    shard_columns,
)

MARKUP = "<img src=x onerror=\"document.title='struck'\">"
"""A name that would run a script where it became markup."""
CLASSES = (f"0{MARKUP}", "<script>document.title='struck'</script>", "'\"&amp;", "걷기‮\x07")
DIGITS = ("build-pis", "digits", "--filtration", "cubical", "--limit", "60")


def pipeline_(*words: str) -> None:
    """A command of the pipeline, in this process."""
    done = CliRunner().invoke(pipeline.cli.cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def make_digits(root: Path) -> str:
    """Cubical persistence images of 60 digits; its key."""
    return added(root, *DIGITS)


def added(root: Path, *words: str) -> str:
    """The key of the store that a command of the pipeline adds to a cache."""
    before = keys(root)
    pipeline_(*words, "--cache", str(root), "--executor", "serial")
    (key,) = keys(root) - before
    return key


def keys(root: Path) -> set[str]:
    """The stores of a cache."""
    folder = root / "stores"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def write_signals(folder: Path) -> Path:
    """24 signals (64, 2) of three classes; sample 4 holds NaN and sample 6 is one value."""
    rng = np.random.default_rng(5)
    time = np.arange(64) / 10
    data = np.stack([np.sin(time * (1 + k % 3))[:, None] * [9.8, 2] for k in range(24)])
    data += rng.normal(0, 0.1, data.shape)
    data[4, 3, 1] = np.nan
    data[6] = 1.5
    place = folder / "signals.npz"
    np.savez(
        place,
        data=data,
        labels=np.arange(24) % 3,
        ids=np.array([f"걷기@{k:06d}+64@10Hz" for k in range(24)]),
        groups=np.array([f"s{k % 4}" for k in range(24)]),
        splits=np.array(["train" if k % 4 else "test" for k in range(24)]),
    )
    return place


def make_signals(root: Path, signals: Path) -> str:
    """Persistence images of the signals; its key."""
    window = ("--birth-range", "-12,12", "--persistence-range", "0,20", "--sigma", "0.6")
    return added(root, "build-pis", f"array:{signals}", "--sample", "signal", *window)


def make_fields(root: Path, signals: Path) -> str:
    """Gramian angular fields of the signals, as bytes; its key."""
    form = ("--size", "16", "--dtype", "uint8")
    return added(root, "build-gafs", f"array:{signals}", "--sample", "signal", *form)


def make_imported(root: Path, samples: int = 12) -> str:
    """Images of which nobody said how they were made; its key."""
    plain = make_spec(samples)
    spec = StoreSpec(source=plain.source, image=plain.image, origin=OriginSpec(format="npy"))
    columns = imported_columns(spec, CHANNELS)
    build = begin(root, spec, make_table(samples), columns, layout=Layout(shard_samples=8))
    rows = make_columns(plain)
    for k in missing_shards(build):
        part = shard_columns(rows, build.sample_range(k))
        write_shard(build, k, {name: part[name] for name in ("images", "status")})
    finish(build)
    return spec.key


def make_hostile(root: Path, samples: int = 21) -> str:
    """A store whose every name is markup; its key."""
    plain = make_spec(samples)
    spec = plain.replace(
        recipe=f"recipe{MARKUP}", source=plain.source.replace(location=f"place{MARKUP}")
    )
    table = SampleTable(
        ids=[f"{MARKUP}{k}" for k in range(samples)],
        labels=np.arange(samples) % 4,
        groups=[f"{MARKUP}{k % 2}" for k in range(samples)],
        splits=[f"{MARKUP}{k % 2}" for k in range(samples)],
        label_names=CLASSES,
    )
    build = begin(
        root,
        spec,
        table,
        standard_columns(spec.image, CHANNELS, inputs=INPUTS),
        layout=Layout(shard_samples=8, chunk_samples=4),
        attributes={"channels": [f"{MARKUP}{k}" for k in range(CHANNELS)]},
    )
    fill_store(build)
    return spec.key
