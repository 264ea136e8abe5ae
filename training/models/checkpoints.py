"""Weights that others released, loaded strictly into the networks of this room.

A layout is a list of replacements of parameter names, applied in order:

| layout | network | their name | our name |
| --- | --- | --- | --- |
| tgd | WideResNet | conv1 | stem |
| | | block1.nblockLayer.0.batch_norm1 | stage1.0.norm1 |
| | | block1.nblockLayer.0.conv1 | stage1.0.conv1 |
| | | block2.nblockLayer.0.conv_inp | stage2.0.shortcut |
| | | batch_norm, fc | norm, head |
| repdistiller-wrn | WideResNet | block1.layer.0.bn1 | stage1.0.norm1 |
| | | block2.layer.0.convShortcut | stage2.0.shortcut |
| | | conv1, bn1, fc | stem, norm, head |
| repdistiller-resnet | CifarResNet | layer1.0.bn1 | stage1.0.norm1 |
| | | layer2.0.downsample.0 | stage2.0.shortcut.0 |
| | | conv1, bn1, fc | stem, norm, head |

`tgd` is the layout of TGD and of TDA_KD, for signals and images alike; `repdistiller-...` are
those of RepDistiller, which the code of AMD and MIX-KD uses.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from pi_cache import files
from pi_cache.errors import InvalidSpec, UnsupportedFormat

LARGEST = 4 << 30
WRAPPED = ("model_state_dict", "state_dict", "model")
"""Where the released files keep the weights: TGD and TDA_KD, others, RepDistiller."""

Replacement = tuple[str, str]
ENDS: tuple[Replacement, ...] = ((r"^conv1\.", "stem."), (r"^fc\.", "head."))
LAYOUTS: Mapping[str, tuple[Replacement, ...]] = {
    "tgd": (
        *ENDS,
        (r"^block(\d)\.nblockLayer\.", r"stage\1."),
        (r"\.batch_norm(\d)\.", r".norm\1."),
        (r"^batch_norm\.", "norm."),
        (r"\.conv_inp\.", ".shortcut."),
    ),
    "repdistiller-wrn": (
        *ENDS,
        (r"^bn1\.", "norm."),
        (r"^block(\d)\.layer\.", r"stage\1."),
        (r"\.bn(\d)\.", r".norm\1."),
        (r"\.convShortcut\.", ".shortcut."),
    ),
    "repdistiller-resnet": (
        *ENDS,
        (r"^bn1\.", "norm."),
        (r"^layer(\d)\.", r"stage\1."),
        (r"\.bn(\d)\.", r".norm\1."),
        (r"\.downsample\.", ".shortcut."),
    ),
}


def read_released(path: Path) -> dict[str, Tensor]:
    """The weights in a released .pth or .pth.tar file, on the CPU, under their own names.

    Only tensors and plain values are unpickled: a file cannot run code.
    Raises UnsupportedFormat for what holds no weights or more than torch's safe reader takes,
    FileNotFoundError.
    """
    data = io.BytesIO(files.read_bytes(path, LARGEST))
    try:
        document = torch.load(data, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise UnsupportedFormat(
            f"{path}: torch's safe reader takes no weights from this file"
            f" ({str(error).splitlines()[0]}); save its state dict alone, with the torch that wrote"
            " it"
        ) from error
    for name in WRAPPED:
        if isinstance(document, dict) and isinstance(document.get(name), Mapping):
            document = document[name]
    tensors = isinstance(document, Mapping) and all(map(torch.is_tensor, document.values()))
    if not document or not tensors:
        raise UnsupportedFormat(
            f"{path} holds no state dict, neither at its top nor under {', '.join(WRAPPED)}"
        )
    return dict(document)


def rename(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """The same weights under our names; a leading `module.` of DataParallel is dropped.

    Raises InvalidSpec for an unknown layout, and when two names become one.
    """
    if layout not in LAYOUTS:
        raise InvalidSpec(f"unknown layout {layout!r}; the layouts are {', '.join(LAYOUTS)}")
    renamed: dict[str, Tensor] = {}
    for name, weights in state.items():
        ours = name.removeprefix("module.")
        for pattern, replacement in LAYOUTS[layout]:
            ours = re.sub(pattern, replacement, ours)
        if ours in renamed:
            raise InvalidSpec(f"two parameters become {ours!r} by the layout {layout!r}")
        renamed[ours] = weights
    return renamed


def load_released(network: nn.Module, state: Mapping[str, Tensor], *, layout: str = "tgd") -> None:
    """Put released weights into a network, every one of them or none.

    Raises InvalidSpec with each parameter that is missing, left over, or of another shape.
    """
    renamed, own = rename(state, layout), network.state_dict()
    problems = [
        *(f"{name} is missing" for name in own if name not in renamed and _must_be_there(name)),
        *(f"{name} is left over" for name in renamed if name not in own),
        *(
            f"{name} has the shape {tuple(weights.shape)}, expected {tuple(own[name].shape)}"
            for name, weights in renamed.items()
            if name in own and weights.shape != own[name].shape
        ),
    ]
    if problems:
        raise InvalidSpec(
            f"the weights are not those of this {type(network).__name__}: {'; '.join(problems)};"
            " check its name, channels, classes and dimensions, and the layout"
        )
    network.load_state_dict(own | renamed)


def _must_be_there(name: str) -> bool:
    """Whether a state dict must have this entry: torch before 0.4.1 counted no batches."""
    return not name.endswith("num_batches_tracked")
