"""Digests of tensors: whether weights are those that were written, or those of another network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def digest_of(tensors: Iterable[tuple[str, Tensor]], text: str = "") -> str:
    """SHA-256 of a text, and of tensors with name, type and shape, in this order."""
    found = hashlib.sha256(text.encode())
    for name, value in tensors:
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def digest_of_file(tensors: Mapping[str, Tensor], text: str) -> str:
    """The same by name, since a safetensors file does not keep the order of its tensors."""
    return digest_of(sorted(tensors.items()), text)
