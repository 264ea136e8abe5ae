"""A small CNN on the persistence images of a store: `python -m training.examples.digits_cnn STORE`.

Samples are divided by id into training, validation and test parts, class by class. The epoch is
chosen on the validation part; the test part is read once, at the end.

What to expect of the 8 x 8 digits, where chance is 0.1: test accuracy 0.31 to 0.33 from their rows,
0.42 to 0.45 from rows and columns (`--scan both`), over seeds 0 to 2. A random forest on the same
pixels gets 0.36 and 0.45 of the validation part: one filtration keeps part of what was drawn.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    if error.name != "torch" or __name__ != "__main__":
        raise
    sys.exit('digits_cnn: torch is not installed: pip install "pi-cache[train]"')

from pi_cache.errors import InvalidSpec, PiCacheError
from training.data import PersistenceImageDataset

EPOCHS = 5
BATCH = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
PARTS = ("train", "validation", "test")
SHARES = (0.6, 0.2, 0.2)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one training gave. Accuracies lie in 0..1; `samples` counts each part."""

    test_accuracy: float
    validation_accuracy: float
    epoch: int
    epochs: int
    seed: int
    key: str
    samples: dict[str, int]
    left_out: dict[str, int]
    seconds: float
    torch: str


def train(
    store: Any, *, epochs: int = EPOCHS, seed: int = 0, say: Say = lambda text: None
) -> Result:
    """The result of a CNN trained on `store`: anything that PersistenceImageDataset opens.

    say is called with a line after each epoch. Same seed, threads and torch: same numbers.
    Raises InvalidSpec when a class has fewer than three samples, and what the dataset raises.
    """
    started = time.perf_counter()
    data = store if isinstance(store, PersistenceImageDataset) else PersistenceImageDataset(store)
    parts = split_by_class(data.ids, data.labels, seed=seed)
    torch.manual_seed(seed)
    classes = max(len(data.label_names), int(data.labels.max()) + 1)
    model = make_model(data.shape, classes)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    seen, validation = data.batch(parts["train"]), data.batch(parts["validation"])
    best, best_epoch, kept = -1.0, 0, model.state_dict()
    for epoch in range(1, epochs + 1):
        train_epoch(model, optimizer, *seen)
        accuracy = measure_accuracy(model, *validation)
        say(f"epoch {epoch} of {epochs}: validation accuracy {accuracy:.3f}")
        if accuracy > best:
            best, best_epoch, kept = accuracy, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return Result(
        test_accuracy=measure_accuracy(model, *data.batch(parts["test"])),
        validation_accuracy=best,
        epoch=best_epoch,
        epochs=epochs,
        seed=seed,
        key=data.key,
        samples={name: len(part) for name, part in parts.items()},
        left_out=data.left_out,
        seconds=round(time.perf_counter() - started, 2),
        torch=torch.__version__,
    )


def split_by_class(
    ids: ArrayLike, labels: NDArray[np.int64], *, seed: int
) -> dict[str, NDArray[np.intp]]:
    """Positions of the train, validation and test samples, each class divided by SHARES.

    It depends on ids, labels and seed, not on the order of the samples, so that stores of one
    data set are divided alike. Raises InvalidSpec when a class has fewer than three samples.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(ids).astype(str)
    parts: dict[str, list[NDArray[np.intp]]] = {name: [] for name in PARTS}
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < len(PARTS):
            raise InvalidSpec(
                f"label {label} has {len(members)} samples, each class needs at least {len(PARTS)}"
            )
        members = rng.permutation(members[np.argsort(names[members])])
        held_out = [max(round(share * len(members)), 1) for share in SHARES[1:]]
        cuts = np.cumsum([len(members) - sum(held_out), held_out[0]])
        for name, part in zip(PARTS, np.split(members, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def make_model(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Images (n, C, P, B) to logits (n, classes): two convolutions, a linear layer."""
    return nn.Sequential(
        nn.BatchNorm2d(shape[0]),  # most pixels are close to 0
        nn.Conv2d(shape[0], 16, 5, stride=2, padding=2),  # (n, 16, P / 2, B / 2)
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),  # (n, 32, P / 4, B / 4)
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((6, 6)),  # where a point lies is what a persistence image says
        nn.Flatten(),
        nn.Linear(32 * 36, classes),
    )


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    """One pass over images (n, C, P, B) and labels (n,), in an order drawn from torch's seed."""
    model.train()
    for batch in torch.split(torch.randperm(len(images)), BATCH):
        if len(batch) > 1 or len(images) == 1:  # a lone last sample has no batch statistics
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]  # no hints
            optimizer.step()


@torch.no_grad()
def measure_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images (n, C, P, B) whose largest logit is at their label."""
    model.train(False)
    guessed = [model(part).argmax(dim=1) for part in torch.split(images, BATCH)]
    return (torch.cat(guessed) == labels).double().mean().item()


def describe(result: Result) -> str:
    """The result in two lines, with all that is needed to repeat it."""
    counts = ", ".join(f"{count} {name}" for name, count in result.samples.items())
    left = ", ".join(f"{count} {name}" for name, count in result.left_out.items()) or "none"
    return (
        f"test accuracy {result.test_accuracy:.3f} (n = {result.samples['test']}, seed"
        f" {result.seed}, epoch {result.epoch} of {result.epochs}, chosen by validation accuracy"
        f" {result.validation_accuracy:.3f})\n"
        f"store {result.key}: {counts}; left out: {left}; {result.seconds:.1f} s"
    )


EPILOG = """\b
Examples:
  python -m training.examples.digits_cnn 3f2a9c
  python -m training.examples.digits_cnn /data/pi/stores/3f2a9c... --epochs 10 --seed 1 --json"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.argument("store")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Cache root.  [default: $PI_CACHE, else the user's cache folder]",
)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of split, weights and order.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Another number may change the last digits.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cli(
    store: str, cache: Path | None, epochs: int, seed: int, threads: int, as_json: bool
) -> None:
    """Train a small CNN on STORE: its path, its key, or the first characters of its key."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    data = PersistenceImageDataset(store, root=cache)
    result = train(data, epochs=epochs, seed=seed, say=lambda text: click.echo(text, err=True))
    click.echo(json.dumps(asdict(result)) if as_json else describe(result))


def main() -> None:
    """Run the command; an error of ours is one sentence."""
    try:
        cli(prog_name="python -m training.examples.digits_cnn")
    except PiCacheError as error:
        click.echo(f"digits_cnn: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
