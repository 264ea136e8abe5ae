"""Samples, channels and types, however a caller writes them; refusals that say what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.specs import Status  # noqa: E402
from tests.pi_cache.made import PIXELS, make_columns, make_spec, make_table  # noqa: E402
from tests.training.conftest import SAMPLES  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("channels", [["z"], [2, 0], ["y", 0], [1, 1]])
def test_channels_by_name_or_number(path: Path, channels: list[Any]) -> None:
    whole, some = PersistenceImageDataset(path), PersistenceImageDataset(path, channels=channels)
    numbers = [c if isinstance(c, int) else "xyz".index(c) for c in channels]
    assert torch.equal(some[:][0], whole[:][0][:, numbers])
    assert some.channels == tuple("xyz"[c] for c in numbers)
    assert some.shape == (len(channels), PIXELS, PIXELS)


def test_what_is_not_ok_is_left_out_and_counted(path: Path, ok: np.ndarray) -> None:
    status = make_columns(make_spec(SAMPLES))["status"]
    dataset = PersistenceImageDataset(path)
    assert len(dataset) == len(ok)
    assert dataset.left_out == {
        name.name: int((status == name).sum()) for name in (Status.NAN, Status.UNDECODABLE)
    }
    for name, count in dataset.left_out.items():
        assert f"{name} {count}" in repr(dataset)
    assert f"{len(ok)} of {SAMPLES} samples" in repr(dataset)


def test_a_split(path: Path, ok: np.ndarray) -> None:
    splits = np.array(make_table(SAMPLES).splits)
    parts = {name: PersistenceImageDataset(path, split=name) for name in ("train", "test")}
    for name, part in parts.items():
        assert part.index.tolist() == [i for i in ok if splits[i] == name]
    assert sum(map(len, parts.values())) == len(ok)


def test_samples_by_number_id_or_mask(path: Path, ok: np.ndarray) -> None:
    chosen = ok[[3, 0, 3, 5]]
    by_number = PersistenceImageDataset(path, samples=chosen)
    by_id = PersistenceImageDataset(path, samples=[f"표본/{i}" for i in chosen])
    assert by_number.index.tolist() == by_id.index.tolist() == chosen.tolist()
    mask = np.arange(SAMPLES) < SAMPLES // 2
    masked = PersistenceImageDataset(path, samples=mask)
    assert masked.index.tolist() == [i for i in ok if mask[i]]
    assert sum(masked.left_out.values()) == mask.sum() - len(masked)


@pytest.mark.parametrize("kind", [object, np.uint8, "torch", "strings"])
def test_samples_in_other_kinds_of_array(path: Path, ok: np.ndarray, kind: Any) -> None:
    chosen = ok[[3, 0, 5]]
    samples: Any
    if kind == "torch":
        samples = torch.from_numpy(chosen)
    elif kind == "strings":
        if not hasattr(np.dtypes, "StringDType"):
            pytest.skip("numpy 2 brought StringDType")
        samples = np.array([f"표본/{i}" for i in chosen], dtype=np.dtypes.StringDType())
    else:
        samples = chosen.astype(kind)
    assert PersistenceImageDataset(path, samples=samples).index.tolist() == chosen.tolist()


def test_ids_as_objects(path: Path, ok: np.ndarray) -> None:
    ids = np.array([f"표본/{i}" for i in ok[:3]], dtype=object)
    assert PersistenceImageDataset(path, samples=ids).ids.tolist() == ids.tolist()


def test_a_mask_of_torch(path: Path, ok: np.ndarray) -> None:
    mask = torch.arange(SAMPLES) < SAMPLES // 2
    dataset = PersistenceImageDataset(path, samples=mask)
    assert dataset.index.tolist() == [i for i in ok if i < SAMPLES // 2]


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("float16"), torch.float16, "float16"])
def test_a_type_by_any_name(path: Path, dtype: Any) -> None:
    both = PersistenceImageDataset(path, dtype={"images": dtype, "inputs": dtype})
    assert both.dtypes == {"images": torch.float16, "inputs": torch.float16}
    assert PersistenceImageDataset(path, dtype=dtype)[0][0].dtype == torch.float16


def test_a_refusal_prints_no_whole_array(path: Path) -> None:
    for samples in (torch.ones(30, 30, dtype=torch.bool), np.ones((30, 30), dtype=bool)):
        with pytest.raises(InvalidSpec, match=r"must be a list .* shape \(30, 30\)$"):
            PersistenceImageDataset(path, samples=samples)
    with pytest.raises(InvalidSpec, match="must be a list") as refusal:
        PersistenceImageDataset(path, samples=[[0] * 900] * 2)
    assert len(str(refusal.value)) < 200


def test_a_sample_asked_for_by_name_must_be_ok(path: Path, ok: np.ndarray) -> None:
    status = make_columns(make_spec(SAMPLES))["status"]
    bad = next(i for i in range(SAMPLES) if i not in ok)
    expected = rf"표본/{bad} \(sample {bad}\) is {Status(status[bad]).name}"
    for samples in ([ok[0], bad], [f"표본/{bad}"]):
        with pytest.raises(InvalidSpec, match=expected):
            PersistenceImageDataset(path, samples=samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "'dev' is not in store .* which has test, train"),
        ({"split": "train", "samples": [0]}, "both given"),
        ({"samples": []}, "none was chosen"),
        ({"samples": [SAMPLES]}, "40 is not in 0..39"),
        ({"samples": [-1]}, "-1 is not in 0..39"),
        ({"samples": [0.5]}, "whole numbers"),
        ({"samples": 3}, "must be a list"),
        ({"samples": ["표본/x"]}, "no id '표본/x'"),
        ({"samples": [[0], [0, 1]]}, "must be a list"),
        ({"samples": torch.ones(40, dtype=torch.bfloat16)}, "must be a list"),
        ({"samples": np.array([0, 0.5], dtype=object)}, "of one kind, got 0.5"),
        ({"samples": np.array([0, "표본/1"], dtype=object)}, "of one kind, got '표본/1'"),
        ({"samples": np.array([True, False], dtype=object)}, "of one kind, got True"),
        ({"samples": np.array([None], dtype=object)}, "of one kind, got None"),
        ({"samples": np.array([[]], dtype=object)}, "must be a list"),
        ({"samples": np.array([-1], dtype=object)}, "-1 is not in 0..39"),
        ({"samples": [2**70]}, "1180591620717411303424 is not in 0..39"),
        ({"samples": [b"0"]}, "whole numbers, ids or a mask"),
        ({"samples": [True]}, "a mask needs 40 values, got 1"),
        ({"channels": ["w"]}, "'w' is not in this store, which has 0 x, 1 y, 2 z"),
        ({"channels": [3]}, "3 is not in this store"),
        ({"channels": [0.5]}, "channel 0.5 is not in this store, which has 0 x"),
        ({"channels": [True]}, "channel True is not in this store"),
        ({"channels": [None]}, "channel None is not in this store"),
        ({"channels": [-1]}, "-1 is not in this store"),
        ({"channels": 0}, "must be a list of some of 0 x, 1 y, 2 z; got 0"),
        ({"channels": np.array(0)}, "must be a list"),
        ({"channels": "xy"}, "must be a list"),
        ({"channels": []}, "must be a list"),
        ({"names": ["image"]}, "some of images, inputs, .*got 'image'"),
        ({"names": []}, "must be a list"),
        ({"names": "images"}, "must be a list"),
        ({"dtype": "float23"}, "got 'float23'"),
        ({"dtype": np.uint8}, "must be stored or a floating type"),
        ({"dtype": np.longdouble}, "must be stored or a floating type"),
        ({"dtype": np.floating}, "must be stored or a floating type"),
        ({"dtype": 32}, "got 32"),
        ({"dtype": {0: "float32"}}, "got 0"),
        ({"dtype": torch.uint8}, "must be stored or a floating type"),
        ({"dtype": {"labels": "float32"}}, "got labels"),
        ({"check": "never"}, "check must be one of"),
    ],
)
def test_refusals_name_what_is_there(path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        PersistenceImageDataset(path, **arguments)


def test_nothing_ok_raises(path: Path, ok: np.ndarray) -> None:
    mask = np.ones(SAMPLES, dtype=bool)
    mask[ok] = False
    with pytest.raises(InvalidSpec, match=r"none is OK .*NAN .*UNDECODABLE"):
        PersistenceImageDataset(path, samples=mask)
