"""The state of a run in one file: safetensors, with all that is no tensor as JSON in its metadata.

Nothing in it can run code. Names of tensors:

    network/NAME  learned/NAME  best/NAME     weights and buffers; the best epoch's of the network
    optimizer/PARAMETER/KEY                   momenta and counts, by the parameter's name
    random/RANK/NAME  transform/RANK/NAME     generators of each rank
    sums/values  sums/RANK/values             float64, what a broken-off epoch has added up: of the
                                              first rank, and of each other one
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pi_cache import files
from pi_cache.errors import UnsupportedFormat
from training.digests import digest_of_file

FORMAT = 1
METADATA = "pi_cache"
SHA256 = "sha256"
"""Of the metadata: over document and tensors, as safetensors itself notices no changed bit."""
Tensors = dict[str, Tensor]


class DamagedState(UnsupportedFormat):
    """A file that is no state of a run, or one of which bits have changed."""


@dataclass(slots=True)
class State:
    """What a run needs to go on: plain values, and tensors on the CPU by group and name."""

    values: dict[str, Any] = field(default_factory=dict)
    tensors: Tensors = field(default_factory=dict)

    def put(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors under `group/`."""
        for name, value in tensors.items():
            self.tensors[f"{group}/{name}"] = value.detach().to("cpu", copy=True).contiguous()

    def group(self, group: str) -> Tensors:
        """What was put there, by name."""
        start = f"{group}/"
        return {
            name.removeprefix(start): value
            for name, value in self.tensors.items()
            if name.startswith(start)
        }


def write_state(path: Path, state: State, *, temporary: Path) -> None:
    """Make the file, durably and at once. Raises AlreadyPublished where another has the name."""
    text = json.dumps({"format_version": FORMAT, **state.values}, ensure_ascii=False)
    data = save(state.tensors, {METADATA: text, SHA256: digest_of_file(state.tensors, text)})
    files.publish(path, data, temporary=temporary)


def read_state(path: Path) -> State:
    """The state in a file. Raises DamagedState, or UnsupportedFormat for one of another format."""
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = metadata.get(METADATA, "")
        document = json.loads(text)
        version = document.pop("format_version")
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise DamagedState(f"{path} is no state of a run ({error!r:.120})") from error
    found = digest_of_file(tensors, text)
    if metadata.get(SHA256, found) != found:  # older states have none
        raise DamagedState(f"{path}: its SHA-256 is {found}, and was {metadata[SHA256]}")
    if version != FORMAT:
        raise UnsupportedFormat(
            f"{path}: state format {version!r}, this release reads {FORMAT}; go on with the release"
            " that wrote it, or give another folder"
        )
    return State(document, tensors)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Iterable[tuple[str, nn.Parameter]]
) -> Tensors:
    """What an optimizer remembers, as NAME/KEY of each parameter."""
    found = {}
    for name, parameter in parameters:
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                found[f"{name}/{key}"] = value
    return found


def load_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: Iterable[tuple[str, nn.Parameter]],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give an optimizer what `optimizer_tensors` found."""
    document = optimizer.state_dict()
    remembered: dict[str, Tensors] = {}
    for name, value in tensors.items():
        parameter, _, key = name.rpartition("/")
        remembered.setdefault(parameter, {})[key] = value
    document["state"] = {
        number: remembered[name]
        for number, (name, _) in enumerate(parameters)
        if name in remembered
    }
    optimizer.load_state_dict(document)


def check_finite(state: State) -> str | None:
    """The name of the first weight or momentum that is not finite, None where all are."""
    for name, value in state.tensors.items():
        if value.is_floating_point() and not name.startswith("best/") and not _finite(value):
            return name
    return None


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
