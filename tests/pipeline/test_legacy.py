"""Images that were made elsewhere: what is found, what is known, what an audit says of them."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from PIL import Image
from scipy.io import loadmat, savemat

from pi_cache import catalogue
from pi_cache.cli import cli
from pi_cache.commands.legacy import TURNS as OFFERED
from pi_cache.errors import InvalidSpec, PiCacheError, SourceError
from pi_cache.integrity.verification import verify
from pi_cache.reader import Store, open_store
from pi_cache.specs import UNKNOWN, Status, known_fields
from pipeline.build import build
from pipeline.legacy import FailedAudit, import_folder
from pipeline.legacy import write as legacy_write
from pipeline.legacy.arrange import TURNS, parse_axes
from pipeline.legacy.matlab import read_mat
from pipeline.recipes import find_recipe
from pipeline.request import read_request
from pipeline.sources import open_source
from tests.photographs import photographs
from tests.pipeline.legacy_data import (
    CLASSES,
    images_by,
    make_folds,
    make_pi_net,
    make_tgd,
    photos,
    save,
)
from tests.shared import shared_data

TGD = find_recipe("tgd-cifar10")


@pytest.fixture(scope="module")
def tgd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A root of TGD and its images (12, 6, 50, 50), those of train first."""
    root = tmp_path_factory.mktemp("데이터") / "cifar10"
    return root, make_tgd(root)


@pytest.fixture
def copied(tgd: tuple[Path, np.ndarray], tmp_path: Path) -> Path:
    return shutil.copytree(tgd[0], tmp_path / "copied")


def imported(root: Path, *paths: Path, **options: Any) -> Store:
    done = import_folder(root=root, paths=tuple(map(str, paths)), **options)
    assert verify(done.path) == []
    assert sum(done.manifest.status.values()) == done.manifest.samples
    return open_store(done.path)


def audited(root: Path, tree: Path, **options: Any) -> Store:
    """A TGD root, audited against the originals in it."""
    source = f"imagefolder:{tree}"
    return imported(root, tree, source=source, **{"recipe": TGD.name, **options})


def change(tree: Path, edit: Any, folders: str = "*_PI*") -> None:
    """Every image below some folders, edited."""
    for path in sorted(tree.glob(f"{folders}/*/*.png")):
        save(path, edit(np.asarray(Image.open(path))))


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["import", *words], catch_exceptions=False)


# What is found.


def test_a_tgd_root_becomes_an_audited_store(tgd: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    tree, images = tgd
    words = [str(tree), "--recipe", TGD.name, "--source", f"imagefolder:{tree}"]
    done = run(*words, "--cache", str(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert "audit passed: 12 of 12" in done.stderr
    assert facts["audit"]["verdict"] == "passed" and facts["audit"]["largest"] == 0
    store = open_store(facts["path"])
    np.testing.assert_array_equal(store.read_all("images"), images)
    assert store.ids[0] == "train/airplane/0000.png"
    names = [store.label_names[k] for k in store.labels]
    assert names == [*[name for name in CLASSES for _ in range(3)], *CLASSES]
    assert store.splits is not None and store.splits.tolist() == ["train"] * 9 + ["test"] * 3
    assert store.channels[0] == "rows/red/H0" and store.channels[5] == "columns/blue/H0"
    assert store.spec.image == TGD.image and store.spec.recipe == TGD.name
    assert UNKNOWN not in known_fields(store.spec).values()
    np.testing.assert_array_equal(store.axis("birth"), np.linspace(0, 0.3, 50))


def test_an_imported_store_is_never_taken_for_a_computed_one(
    tgd: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    store = audited(tmp_path, tgd[0])
    source = open_source(f"imagefolder:{tgd[0] / 'train'}")
    report = build(source, TGD.diagram, TGD.image, root=tmp_path)
    assert not report.found and not report.reused_diagrams
    assert store.spec.diagram_key != report.manifest.diagram_key
    np.testing.assert_array_equal(
        open_store(report.path).read_all("images"), store.read_all("images")[:9]
    )
    nearest = catalogue.nearest(tmp_path, report.manifest.spec)
    assert nearest is not None and nearest[0].key == report.manifest.key
    with pytest.raises(InvalidSpec, match="images without diagrams; build a store"):
        store.diagram(0, 0)
    with pytest.raises(InvalidSpec, match=r"was imported: .* name a SOURCE and a --recipe"):
        read_request(store.path / "spec.json")


def test_two_trees_are_the_channels_of_one_store(copied: Path, tmp_path: Path) -> None:
    rows, columns = copied / "train_PIr", copied / "train_PIc"
    both = imported(tmp_path, rows=str(rows), columns=str(columns))
    assert both.channels == tuple(
        f"{scan}/{name}" for scan in ("rows", "columns") for name in ("red", "green", "blue")
    )
    assert both.ids[0] == "airplane/0000.png" and both.splits is None
    assert both.spec.diagram.scan == "both" and "diagram.scan" in both.spec.origin.given
    said: list[str] = []
    imported(tmp_path, copied, say=said.append)
    assert said == []
    alone = imported(tmp_path, rows=str(rows), recipe=TGD.name)
    assert alone.spec.diagram.scan == "rows"
    np.testing.assert_array_equal(alone.read_all("images"), both.read_all("images")[:, :3])
    (columns / "bird" / "0001.png").unlink()
    with pytest.raises(SourceError, match=r"9 images of rows and 8 images of columns .* bird/0001"):
        imported(tmp_path, rows=str(rows), columns=str(columns))


def test_folds_are_groups_and_their_labels_come_along(tmp_path: Path) -> None:
    signals, images = make_folds(tmp_path / "Result_img_id")
    np.save(tmp_path / "w.npy", signals)
    store = imported(
        tmp_path / "cache",
        tmp_path / "Result_img_id",
        source=f"array:{tmp_path / 'w.npy'}",
        options={"sample": "signal"},
        recipe="tda-kd-pamap2",
    )
    np.testing.assert_array_equal(store.read_all("images"), images)
    assert store.groups is not None and store.groups.tolist() == [*"00000", *"1111", *"222"]
    assert store.labels.tolist() == [k % 3 for k in range(12)] and store.splits is None
    assert store.attributes["audit"]["matched"] == "place in the order"
    assert store.ids[11] == "000011", "the id that its signal has"
    half = imported(tmp_path / "cache", tmp_path / "Result_img_id", dtype="float16")
    assert half.ids[5] == "xtest_org1/000000"
    assert 0 < half.manifest.statistics["max_rounding"] <= 2.5e-4
    np.save(tmp_path / "Result_img_id" / "ytest_org1.npy", np.zeros((3, 1)))
    with pytest.raises(SourceError, match=r"xtest_org1.npy holds 4 images and ytest_org1.npy 3"):
        imported(tmp_path / "cache", tmp_path / "Result_img_id")
    np.save(tmp_path / "Result_img_id" / "xtrain_org0.npy", images)
    with pytest.raises(SourceError, match="most windows occur several times"):
        imported(tmp_path / "cache", tmp_path / "Result_img_id")


def test_flattened_images_of_a_matlab_file(tmp_path: Path) -> None:
    pieces, images = make_pi_net(tmp_path / "Sample_Images_PI.mat")
    np.save(tmp_path / "photos.npy", pieces)
    place = tmp_path / "Sample_Images_PI.mat"
    with pytest.raises(SourceError, match=r"holds imgs uint8.*, PIs float64.* name it with --key"):
        imported(tmp_path, place)
    said: list[str] = []
    store = imported(
        tmp_path,
        place,
        key="PIs",
        recipe="pi-net-cifar10",
        source=f"array:{tmp_path / 'photos.npy'}",
        say=said.append,
    )
    assert said[0].endswith("each row of 7500 values is read as (C, H, W) = (3, 50, 50)")
    np.testing.assert_array_equal(store.read_all("images"), images)
    assert store.spec.image.dtype == "float64"


def test_published_images_agree_with_their_signals(tmp_path: Path) -> None:
    """A folder of MATLAB files with an image each, against the signals they were made from."""
    archive = shared_data("sublevel_set_tda") / "signals_a.tar.xz"
    signals = {}
    with tarfile.open(archive, "r:xz") as members:
        for member in members:
            kind, name = Path(member.name).parts[1], Path(member.name).name
            stream = members.extractfile(member)
            if stream is None or kind not in ("Persistence_Images", "Range_Enforced_Signals"):
                continue
            data = stream.read()
            if kind == "Persistence_Images":
                place = tmp_path / kind / name
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(data)
            else:
                signals[Path(name).stem] = loadmat(io.BytesIO(data))["x"][0]
    names = sorted(signals)
    np.savez(
        tmp_path / "signals.npz",
        data=np.stack([signals[name] for name in names]),
        ids=names,
        labels=[name.split("_")[0] for name in names],
    )
    how = {"source": f"array:{tmp_path / 'signals.npz'}", "options": {"sample": "signal"}}
    store = imported(tmp_path, tmp_path / "Persistence_Images", **how)
    assert store.spec.recipe == "sublevel-set-tda", "found among all recipes"
    assert store.attributes["audit"]["largest"] < 1e-12 and len(store) == 35
    assert store.label_names == ("increased", "normal"), "carried over from the source"
    copy = shutil.copytree(tmp_path / "Persistence_Images", tmp_path / "turned")
    for path in copy.iterdir():
        image = loadmat(path)["PersImg"].reshape(100, 100)
        savemat(path, {"PersImg": image.T.reshape(1, -1)})
    with pytest.raises(FailedAudit, match=r"axes are swapped: .* --turn transpose"):
        imported(tmp_path, copy, recipe="sublevel-set-tda", **how)
    turned = imported(tmp_path, copy, recipe="sublevel-set-tda", turn="transpose", **how)
    np.testing.assert_array_equal(turned.read_all("images"), store.read_all("images"))


def test_images_of_exact_photographs(tmp_path: Path) -> None:
    """CIFAR-10 photographs: the same chain as above, on what the recipe was published for."""
    pieces = photographs(10)
    images = images_by(TGD.name, open_source_of(pieces, tmp_path / "x.npy"), "uint8")
    for k, image in enumerate(images):
        for scan, part in (("rows", image[:3]), ("columns", image[3:])):
            save(tmp_path / scan / f"{k:06d}.png", np.moveaxis(part, 0, -1))
    scans = {scan: str(tmp_path / scan) for scan in ("rows", "columns")}
    store = imported(tmp_path, **scans, source=f"array:{tmp_path / 'x.npy'}")
    assert store.spec.recipe == TGD.name and store.ids[0] == "000000"
    assert store.attributes["audit"]["matched"] == "name without its ending"


def open_source_of(pieces: np.ndarray, path: Path) -> Any:
    np.save(path, pieces)
    return open_source(f"array:{path}")


@pytest.mark.parametrize(
    ("shape", "options", "form"),
    [
        ((7, 3, 8, 8), {}, (3, 8, 8)),
        ((7, 8, 8, 3), {}, (3, 8, 8)),
        ((7, 8, 8), {}, (1, 8, 8)),
        ((7, 64), {}, (1, 8, 8)),
        ((7, 192), {}, (3, 8, 8)),
        ((7, 1, 64), {}, (1, 8, 8)),
        ((7, 128), {"shape": (2, 8, 8)}, (2, 8, 8)),
        ((7, 8, 8, 8), {"channels": "first"}, (8, 8, 8)),
        ((7, 8, 8, 8), {"channels": "last"}, (8, 8, 8)),
    ],
)
def test_axes_of_arrays(
    shape: tuple[int, ...], options: Any, form: tuple[int, int, int], tmp_path: Path,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    array = rng.random(shape)
    np.save(tmp_path / "x.npy", array)
    store = imported(tmp_path, tmp_path / "x.npy", **options)
    last = options.get("channels") == "last" or (len(shape) == 4 and shape[1:] == (8, 8, 3))
    expected = np.moveaxis(array, -1, 1) if last else array.reshape(7, *form)
    np.testing.assert_array_equal(store.read_all("images"), expected)
    assert store.ids.tolist() == [f"{k:06d}" for k in range(7)]


@pytest.mark.parametrize(
    ("sample", "options", "message"),
    [
        ((8, 8, 8), {}, "Say --channels first or --channels last"),
        ((3, 8, 6), {}, r"neither as .C, H, W. nor as .H, W, C.; a store has as many"),
        ((8, 6), {}, "8 x 6 pixels; a store has as many"),
        ((65,), {}, "neither one square image nor three; give the --shape"),
        ((128,), {"shape": (3, 8, 8)}, "128 values a sample, and .* are 192"),
        ((2, 3, 8, 8), {}, "expected .C, H, W."),
    ],
)
def test_axes_that_are_no_images(sample: tuple[int, ...], options: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_axes(sample, **{"shape": None, "channels": None, **options}, where="x.npy")


def test_several_files_are_one_store_and_their_names_are_splits(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    for name, count in (("train", 5), ("test", 2)):
        np.save(tmp_path / f"x_{name}.npy", rng.random((count, 8, 8), dtype=np.float32))
        np.save(tmp_path / f"y_{name}.npy", np.arange(count))
    store = imported(tmp_path, tmp_path / "x_train.npy", tmp_path / "x_test.npy")
    assert store.splits is not None and store.splits.tolist() == ["train"] * 5 + ["test"] * 2
    assert store.labels.tolist() == [0, 1, 2, 3, 4, 0, 1]
    np.savez(tmp_path / "z.npz", pis=rng.random((3, 8, 8)), ids=["b", "a", "c"], labels=[1, 0, 1])
    assert imported(tmp_path, tmp_path / "z.npz").ids.tolist() == ["b", "a", "c"]


def test_labels_ids_and_groups_come_from_files(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "x.npy", rng.random((3, 8, 8)))
    (tmp_path / "ids.txt").write_text("셋\n둘\n하나\n")
    (tmp_path / "labels.csv").write_text("id,label\n하나,sit\n둘,walk\n셋,walk\n")
    savemat(tmp_path / "who.mat", {"subject": np.array([[101, 102, 101]])})
    words = ["--ids", "ids.txt", "--labels", "labels.csv", "--groups", "who.mat:subject"]
    words = [str(tmp_path / w) if "." in w else w for w in words]
    done = run(str(tmp_path / "x.npy"), *words, "--cache", str(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    store = open_store(json.loads(done.stdout)["path"])
    assert store.ids.tolist() == ["셋", "둘", "하나"]
    assert [store.label_names[k] for k in store.labels] == ["walk", "walk", "sit"]
    assert store.groups is not None and store.groups.tolist() == ["101", "102", "101"]
    (tmp_path / "labels.csv").write_text("id,label\n하나,sit\n둘,walk\n넷,walk\n")
    with pytest.raises(SourceError, match=r"3 images and 3 lines of labels .*셋; 1 of .*넷"):
        imported(tmp_path, tmp_path / "x.npy", ids=(str(tmp_path / "ids.txt"),),
                 labels=(str(tmp_path / "labels.csv"),))  # fmt: skip
    np.save(tmp_path / "short.npy", np.zeros(2))
    with pytest.raises(SourceError, match="has 3 images but 2 labels, so the images from number 2"):
        imported(tmp_path, tmp_path / "x.npy", labels=(str(tmp_path / "short.npy"),))


def test_a_csv_that_disagrees_with_the_folders_is_refused(copied: Path, tmp_path: Path) -> None:
    table = copied / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], lines[-1].split(",")[0] + ",ship"]))
    with pytest.raises(SourceError, match=r"lies in the folder \w+, and .* says ship"):
        imported(tmp_path, copied)
    table.write_text("\n".join(lines[:-1]))
    with pytest.raises(SourceError, match="12 images and 11 lines of labels do not go together"):
        imported(tmp_path, copied)
    assert not (tmp_path / "stores").exists(), "a refusal writes nothing"


# What is known.


def test_nothing_is_invented(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "x.npy", rng.random((3, 8, 8), dtype=np.float32))
    store = imported(tmp_path, tmp_path / "x.npy", given=("image.sigma=0.01",))
    known = known_fields(store.spec)
    assert {name for name, value in known.items() if value != UNKNOWN and name[:5] == "image"} == {
        "image.pixels", "image.dtype", "image.sigma",
    }  # fmt: skip
    with pytest.raises(InvalidSpec, match=r"along birth is not known: .* image.birth_range"):
        store.axis("birth")
    group = zarr.open_group(store.path / "data.zarr", mode="r")
    assert "lower_cell_edges" not in group["images"].attrs and "diagrams" not in group.attrs
    assert group.attrs["spec"]["image"] == {"pixels": 8, "sigma": 0.01, "dtype": "float32"}
    shown = CliRunner().invoke(cli, ["show", str(store.path), "--json"], catch_exceptions=False)
    document = json.loads(shown.stdout)
    assert document["image"]["weight"] == UNKNOWN and document["image"]["sigma"] == 0.01
    assert document["axes"] == {"persistence": UNKNOWN, "birth": UNKNOWN}
    assert document["audit"] is None
    other = imported(tmp_path, tmp_path / "x.npy", given=("image.sigma=0.02",))
    assert other.key != store.key


def test_an_axis_needs_its_own_fields_only(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "x.npy", rng.random((3, 8, 8)))
    given = ("image.birth_range=-1,1", "image.grid=regular")
    store = imported(tmp_path, tmp_path / "x.npy", given=given)
    np.testing.assert_allclose(store.axis("birth"), np.arange(8) / 4 - 1)
    with pytest.raises(InvalidSpec, match=r"image.persistence_range, image.row_order"):
        store.axis("persistence")
    assert list(store.column("images").attributes["cell_width"]) == ["birth"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "tgd-cifar10"}, "makes images of 50 pixels, and these have 8"),
        ({"recipe": "tgd"}, "did you mean 'tgd-cifar10'"),
        ({"given": ("image.sigmma=1",)}, "did you mean 'image.sigma'"),
        ({"given": ("image.sigma",)}, "is not FIELD=VALUE"),
        ({"given": ("diagram.scan=both",)}, "in groups of 2 a channel, and these samples have 1"),
        ({"dtype": "uint8"}, "stored as they are or as a float"),
        ({"channel_names": ("a", "b")}, "have 1 channels, got 2 names"),
        ({"order": (1,)}, "each of 0..0 once"),
    ],
)
def test_claims_that_cannot_be_true(options: Any, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 8, 8)))
    with pytest.raises(InvalidSpec, match=message):
        imported(tmp_path, tmp_path / "x.npy", **options)
    assert not (tmp_path / "stores").exists()


def test_a_saved_spec_is_a_claim_too(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "x.npy", rng.random((3, 2, 8, 8)))
    saved = tmp_path / "spec.json"
    saved.write_text(json.dumps({"diagram": {"scan": "both"}, "image": {"threshold": 0.02}}))
    store = imported(tmp_path, tmp_path / "x.npy", spec_file=saved)
    assert (store.spec.diagram.scan, store.spec.image.threshold) == ("both", 0.02)
    assert {"diagram.scan", "image.threshold"} <= set(store.spec.origin.given)


# Every file is accounted for.


def test_every_picture_has_a_status(tmp_path: Path, rng: np.random.Generator) -> None:
    tree = tmp_path / "tree"
    good = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    save(tree / "a.png", good)
    save(tree / "b.png", np.zeros((8, 8), np.uint8))
    save(tree / "c.png", np.full((8, 8), 7, np.uint8))
    save(tree / "d.png", good[:6])
    save(tree / "e.png", np.stack([good] * 3, -1))
    save(tree / "f.png", np.stack([good] * 4, -1))
    save(tree / "g.png", good.astype(np.uint16) * 255)
    (tree / "h.png").write_bytes((tree / "a.png").read_bytes()[:40])
    (tree / "i.png").write_bytes(b"")
    store = imported(tmp_path, tree)
    assert [Status(code).name for code in store.status] == [
        "OK", "OK", "CONSTANT", "WRONG_SHAPE", "WRONG_SHAPE", "WRONG_SHAPE", "UNDECODABLE",
        "UNDECODABLE", "EMPTY",
    ]  # fmt: skip
    np.testing.assert_array_equal(store.read("images", [0])[0, 0], good)
    assert not store.read("images", slice(3, None)).any(), "never a wrong image"
    assert store.manifest.statistics["blank_images"] == 1
    problems = store.manifest.statistics["problems"]
    assert "colour map" in problems["f.png"] and len(problems) == 7


def test_every_array_has_a_status(tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.random((5, 8, 8))
    array[1, 2, 3], array[2, 0, 0], array[3] = np.nan, np.inf, 0
    np.save(tmp_path / "x.npy", array)
    store = imported(tmp_path, tmp_path / "x.npy")
    assert [Status(code).name for code in store.status] == ["OK", "NAN", "INF", "OK", "OK"]
    assert np.isnan(store.read("images", [1, 2])).all()
    folder = tmp_path / "folder"
    folder.mkdir()
    for k, one in enumerate(array):
        np.save(folder / f"{k}.npy", one)
    np.save(folder / "5.npy", array[0].astype(np.float32))
    np.save(folder / "6.npy", array[0, :6])
    np.save(folder / "7.npy", np.array([object()]), allow_pickle=True)
    (folder / "8.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    each = imported(tmp_path, folder)
    assert [Status(code).name for code in each.status[5:]] == [
        "WRONG_SHAPE", "WRONG_SHAPE", "UNDECODABLE", "UNDECODABLE",
    ]  # fmt: skip
    assert "-v7" in each.manifest.statistics["problems"]["8"]
    np.testing.assert_array_equal(each.read("images", [0, 4]), store.read("images", [0, 4]))


def test_hostile_files_are_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}] * 3), allow_pickle=True)
    savemat(tmp_path / "s.mat", {"s": {"field": np.ones((3, 8, 8))}})
    (tmp_path / "v.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "t.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(150))
    np.save(tmp_path / "i.npy", np.ones((3, 8, 8), np.int64))
    for name, message in {
        "o.npy": "Python objects",
        "s.mat": "s struct.* expected one array of real numbers",
        "v.mat": "save it again in MATLAB with save",
        "t.mat": "has no header of version 5",
        "i.npy": "holds int64, expected real numbers, or uint8",
        "none.npy": "no such file",
    }.items():
        with pytest.raises(SourceError, match=message):
            imported(tmp_path, tmp_path / name)


def test_a_field_is_stated_once_and_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "x.npy", rng.random((3, 8, 8)))
    for given, message in (
        (("image.threshold=0,001",), "threshold is one value, got '0,001'; a decimal has a point"),
        (("image.sigma=0.1", "image.sigma=0.2"), "sigma is given twice, as 0.1 and as 0.2"),
        (("image.dtype=float32",), "dtype is that of the images; --dtype stores"),
        (("image.sigmma=1",), "did you mean 'image.sigma'"),
        (("image.pixels=9",), "the claim makes images of 9 pixels, and these have 8"),
    ):
        with pytest.raises(InvalidSpec, match=message):
            imported(tmp_path, tmp_path / "x.npy", given=given)
    given = ("image.sigma=0.1", "image.sigma=1e-1", "image.birth_range=0,0.3")
    store = imported(tmp_path, tmp_path / "x.npy", given=given)
    assert (store.spec.image.sigma, store.spec.image.birth_range) == (0.1, (0.0, 0.3))


def test_a_pipe_among_the_files_is_not_waited_for(tmp_path: Path, rng: np.random.Generator) -> None:
    tree, image = tmp_path / "tree", rng.integers(0, 256, (8, 8), dtype=np.uint8)
    save(tree / "b.png", image)
    os.mkfifo(tree / "a.png")
    said: list[str] = []
    assert imported(tmp_path, tree, say=said.append).ids.tolist() == ["b.png"]
    assert said == ["note: files that are something else left out: 1 .png"]
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(SourceError, match=r"x\.npy is no file but a pipe"):
        imported(tmp_path, tmp_path / "x.npy")


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(
    compressed: bool, rng: np.random.Generator
) -> None:
    for dtype in ("u1", "i2", "u4", "i8", "f4", "f8"):
        for shape in ((3, 4), (1, 7), (2, 3, 4), (1, 2)):
            array = (rng.random(shape) * 100).astype(dtype)
            others = {"s": {"x": 1}, "t": "text", "z": array * 1j}
            data = saved(compressed, a=array, name_of_many_letters=array, **others)
            for key in ("a", "name_of_many_letters"):
                ours, theirs = read_mat(data, key, "x.mat"), loadmat(io.BytesIO(data))[key]
                np.testing.assert_array_equal(ours, theirs)
                assert ours.dtype == theirs.dtype.newbyteorder("=")
    with pytest.raises(SourceError, match=r"z complex.1, 2., expected an array of real numbers"):
        read_mat(data, "z", "x.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_matlab_file_is_refused_or_read(
    compressed: bool, rng: np.random.Generator
) -> None:
    """Whatever its bytes: SciPy's own reader ends the process on some of these."""
    data, read = saved(compressed, a=rng.random((3, 64)), y=np.arange(3)), 0
    for k in range(1000):
        broken = bytearray(data)
        for place in rng.integers(100, len(data), 3):
            broken[place] = rng.integers(256)
        broken = broken[: rng.integers(1, len(data))] if k % 5 == 0 else broken
        try:
            read += read_mat(bytes(broken), "a", "x.mat").nbytes < 1e6
        except SourceError as error:
            assert "x.mat" in str(error)
    assert read < 900, "most damage of the structure is noticed"


def saved(compressed: bool, **arrays: Any) -> bytes:
    """The bytes of a MATLAB file."""
    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=compressed)
    return stream.getvalue()


def test_an_import_goes_on_where_it_stopped(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", rng.random((1100, 8, 8), dtype=np.float32))
    whole = import_folder(root=tmp_path / "one", paths=(str(tmp_path / "x.npy"),))
    writes: list[int] = []

    def stopping(build: Any, k: int, *rest: Any, **named: Any) -> Any:
        writes.append(k)
        if len(writes) == 3:
            raise KeyboardInterrupt
        return original(build, k, *rest, **named)

    original = legacy_write.write_shard
    monkeypatch.setattr(legacy_write, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        import_folder(root=tmp_path / "two", paths=(str(tmp_path / "x.npy"),))
    again = import_folder(root=tmp_path / "two", paths=(str(tmp_path / "x.npy"),))
    assert again.kept == 2 and again.manifest.shards > 3
    assert writes[3:] == list(range(2, again.manifest.shards)), "no shard is written twice"
    assert again.manifest.digest == whole.manifest.digest
    lost = again.path / "data.zarr" / "images" / "c.1.0.0.0"
    lost.write_bytes(lost.read_bytes()[:-1])
    mended = import_folder(root=tmp_path / "two", paths=(str(tmp_path / "x.npy"),))
    assert writes[-1] == 1 and mended.kept == mended.manifest.shards - 1
    assert [finding for finding in verify(again.path) if finding.kind != "orphan"] == []


# What an audit says.

CONFUSIONS = {
    "rows lie upside down.* --turn flip-rows": lambda a: a[::-1],
    "columns run from right to left": lambda a: a[:, ::-1],
    "axes are swapped: birth runs along the rows.* --turn transpose": lambda a: a.swapaxes(0, 1),
    r"backwards \(BGR\); remedy: --channel-order 2,1,0,5,4,3": lambda a: a[..., ::-1],
    "backwards .BGR. and rows lie upside down": lambda a: a[::-1, :, ::-1],
    "no known confusion explains it": lambda a: np.roll(a, 3, axis=0),
}


@pytest.mark.parametrize("message", CONFUSIONS)
def test_an_audit_names_the_confusion(message: str, copied: Path, tmp_path: Path) -> None:
    change(copied, CONFUSIONS[message])
    with pytest.raises(FailedAudit, match=message):
        audited(tmp_path, copied)
    assert not (tmp_path / "stores").exists(), "a refusal writes nothing"


def test_the_remedy_that_an_audit_names_works(
    tgd: tuple[Path, np.ndarray], copied: Path, tmp_path: Path
) -> None:
    change(copied, lambda a: a[::-1, :, ::-1])
    mended = audited(tmp_path, copied, turn="flip-rows", order=(2, 1, 0, 5, 4, 3))
    np.testing.assert_array_equal(mended.read_all("images"), tgd[1])


def test_every_turn_has_one_that_undoes_it(rng: np.random.Generator) -> None:
    images = rng.random((2, 5, 5, 3))
    assert {*OFFERED, "none"} == set(TURNS)
    for turn in TURNS.values():
        assert any(np.array_equal(back(turn(images)), images) for back in TURNS.values())


def test_jpeg_is_named_as_what_it_is(copied: Path, tmp_path: Path) -> None:
    for path in sorted(copied.glob("*_PI*/*/*.png")):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    for table in copied.glob("*.csv"):
        table.write_text(table.read_text().replace(".png", ".jpg"))
    said: list[str] = []
    with pytest.raises(FailedAudit, match="JPEG does not keep pixel values; --tolerance N"):
        audited(tmp_path, copied, say=said.append)
    assert "12 files are JPEG" in "".join(said)
    store = audited(tmp_path, copied, tolerance=255)
    assert store.ids[0] == "train/airplane/0000.png", "the name of the photograph"


def test_columns_that_are_rows_are_found(copied: Path, tmp_path: Path) -> None:
    """What the released notebook gives where its transpose has no effect."""
    for split in ("train", "test"):
        shutil.rmtree(copied / f"{split}_PIc")
        shutil.copytree(copied / f"{split}_PIr", copied / f"{split}_PIc")
    with pytest.raises(FailedAudit, match=r"columns are those of rows .a transpose"):
        audited(tmp_path, copied)
    said: list[str] = []
    imported(tmp_path, copied, say=said.append)
    assert any("columns are those of rows" in line for line in said), "without the source too"


@pytest.mark.parametrize(
    ("recipe", "image", "message"),
    [
        ("tgd-cifar10", {"rounding": "nearest"}, "rounding is nearest, not as claimed"),
        ("tgd-cifar10", {"grid": "regular"}, "grid is regular, not as claimed"),
        ("tgd-cifar10", {"threshold": 0.0}, "threshold is 0.0, not as claimed"),
        ("pi-net-cifar10", {"dtype": "uint8"}, "they are those of pi-net-cifar10"),
    ],
)
def test_an_audit_names_the_parameter(
    recipe: str, image: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pieces = photos(6)
    source = open_source_of(pieces, tmp_path / "x.npy")
    made = find_recipe(recipe)
    report = build(source, made.diagram.replace(scan="rows"), made.image.replace(**image),
                   root=tmp_path / "made")  # fmt: skip
    np.save(tmp_path / "pis.npy", open_store(report.path).read_all("images"))
    how = {"source": f"array:{tmp_path / 'x.npy'}", "recipe": TGD.name}
    with pytest.raises(FailedAudit, match=message):
        imported(tmp_path, tmp_path / "pis.npy", given=("diagram.scan=rows",), **how)


def test_float_images_that_were_scaled_otherwise(tmp_path: Path) -> None:
    source = open_source_of(photos(5), tmp_path / "x.npy")
    recipe = find_recipe("pi-net-cifar10")
    raw = build(source, recipe.diagram, recipe.image.replace(normalise="none", dtype="float64"),
                root=tmp_path / "made")  # fmt: skip
    images = open_store(raw.path).read_all("images")
    how = {"source": f"array:{tmp_path / 'x.npy'}", "recipe": recipe.name}
    own = images / images.max(axis=(2, 3), keepdims=True)
    for array, message in (
        (images, "normalise is none, not as claimed"),
        (images / images.max(axis=(1, 2, 3), keepdims=True), "largest value of all its channels"),
        (images / images.max(), "divided by one number"),
        (own * 255, "255 times as large"),
    ):
        np.save(tmp_path / "pis.npy", array)
        with pytest.raises(FailedAudit, match=message):
            imported(tmp_path, tmp_path / "pis.npy", **how)
    np.save(tmp_path / "pis.npy", images / images.max())
    whole = imported(tmp_path, tmp_path / "pis.npy", given=("image.normalise=dataset-max",), **how)
    assert whole.attributes["audit"]["verdict"] == "passed"


def test_an_audit_that_compares_next_to_nothing_is_not_passed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Far from all points a recomputed image is nothing but rounding errors, and none is compared:
    by a claim of such ranges any image would pass."""
    open_source_of(photos(6), tmp_path / "x.npy")
    np.save(tmp_path / "pis.npy", rng.random((6, 3, 50, 50)))
    how: dict[str, Any] = {
        "source": f"array:{tmp_path / 'x.npy'}",
        "recipe": "pi-net-cifar10",
        "given": ("image.grid=regular", "image.birth_range=2,3"),
    }
    with pytest.raises(FailedAudit, match="18 of 18 recomputed images hold next to nothing"):
        imported(tmp_path, tmp_path / "pis.npy", **how)
    for tolerance in (np.inf, np.nan, -1.0):
        with pytest.raises(InvalidSpec, match="tolerance must be a number from 0 on"):
            imported(tmp_path, tmp_path / "pis.npy", tolerance=tolerance, **how)


def test_a_second_audit_says_that_the_first_is_kept(copied: Path, tmp_path: Path) -> None:
    said: list[str] = []
    audited(tmp_path, copied, count=3, say=said.append)
    audited(tmp_path, copied, count=3, say=said.append)
    assert not any("imported before" in line for line in said)
    store = audited(tmp_path, copied, count=12, say=said.append)
    assert said[-1].startswith("note: these images were imported before; the store keeps")
    assert store.attributes["audit"]["compared"] == 3


def test_an_image_that_was_left_out_is_found(tmp_path: Path) -> None:
    """Arrays without ids: from there on each image goes with the wrong sample."""
    source = open_source_of(photos(40), tmp_path / "x.npy")
    images = images_by("pi-net-cifar10", source, "float64")
    np.save(tmp_path / "pis.npy", np.delete(images, 23, axis=0))
    how = {"source": f"array:{tmp_path / 'x.npy'}", "recipe": "pi-net-cifar10", "count": 10}
    message = r"from 000023 on, images are those of samples 1 place later.* no image: 000039"
    with pytest.raises(FailedAudit, match=message):
        imported(tmp_path, tmp_path / "pis.npy", **how)


def test_ids_are_compared_both_ways(copied: Path, tmp_path: Path) -> None:
    name = "train/bird/0001.png"
    (copied / name).unlink()
    with pytest.raises(FailedAudit, match=f"1 images belong to no sample of the source: {name}"):
        audited(tmp_path, copied)
    save(copied / name, photos(12)[1])
    for scan in "rc":
        (copied / f"train_PI{scan}/bird/0001.png").unlink()
    table = copied / "train.csv"
    table.write_text(table.read_text().replace("bird/0001.png,bird\n", ""))
    with pytest.raises(FailedAudit, match=f"1 samples of the source have no image: {name}"):
        audited(tmp_path, copied)
    assert len(audited(tmp_path, copied, partial=True)) == 11
    with pytest.raises(SourceError, match="no image belongs to a sample of digits"):
        imported(tmp_path, copied, source="digits", recipe=TGD.name)


def test_labels_are_compared_with_those_of_the_source(copied: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 2, 1]))
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    stated = {"labels": (str(tmp_path / "labels.npy"),),
              "label_names": (str(tmp_path / "names.txt"),)}  # fmt: skip
    with pytest.raises(FailedAudit, match=r"2 labels differ: test/bird/0010.png is cat, in the"):
        audited(tmp_path, copied, **stated)


def test_splits_and_groups_are_compared_with_those_of_the_source(
    copied: Path, tmp_path: Path
) -> None:
    (tmp_path / "splits.txt").write_text("\n".join(["train"] * 8 + ["test"] * 4))
    with pytest.raises(FailedAudit, match=r"1 splits differ: train/cat/0008.png is in test, in th"):
        audited(tmp_path, copied, splits=(str(tmp_path / "splits.txt"),))
    (tmp_path / "splits.txt").write_text("\n".join(["fit"] * 9 + ["held out"] * 3))
    store = audited(tmp_path, copied, splits=(str(tmp_path / "splits.txt"),))
    assert store.splits is not None and store.splits[0] == "fit", "other words for the same parts"
    source = open_source_of(photos(6), tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", data=photos(6), groups=np.array([*"aabbcc"]))
    np.save(tmp_path / "pis.npy", images_by("pi-net-cifar10", source, "float64"))
    how = {"source": f"array:{tmp_path / 'x.npz'}", "recipe": "pi-net-cifar10"}
    wrong = {
        "aabbca": "1 groups differ: 000005 is in a, in the source in c",
        "001112": "6 groups differ: 000000 is in 0, in the source in a",
    }
    for named, message in wrong.items():
        (tmp_path / "groups.txt").write_text("\n".join(named))
        with pytest.raises(FailedAudit, match=message):
            imported(tmp_path, tmp_path / "pis.npy", groups=(str(tmp_path / "groups.txt"),), **how)


def test_numbers_get_the_names_that_the_source_has(tmp_path: Path) -> None:
    source = open_source_of(photos(6), tmp_path / "x.npy")
    words = np.array(["cat", "dog", "cat", "dog", "bird", "bird"])
    np.savez(tmp_path / "named.npz", data=photos(6), labels=words)
    np.save(tmp_path / "pis.npy", images_by("pi-net-cifar10", source, "float64"))
    np.save(tmp_path / "labels.npy", np.array([1, 2, 1, 2, 0, -1]))
    store = imported(tmp_path, tmp_path / "pis.npy", labels=(str(tmp_path / "labels.npy"),),
                     source=f"array:{tmp_path / 'named.npz'}", recipe="pi-net-cifar10")  # fmt: skip
    assert store.label_names == ("bird", "cat", "dog")
    assert store.labels.tolist() == [1, 2, 1, 2, 0, 0]


def test_what_fails_is_kept_only_by_name_and_marked(copied: Path, tmp_path: Path) -> None:
    change(copied, lambda a: a[::-1])
    words = [str(copied), "--recipe", TGD.name, "--source", f"imagefolder:{copied}"]
    refused = run_main(*words, "--cache", str(tmp_path))
    assert refused.exit_code == 1 and isinstance(refused.exception, FailedAudit)
    done = run(*words, "--keep", "--cache", str(tmp_path), "--json")
    assert done.exit_code == 0 and "warning: " in done.stderr
    store = open_store(json.loads(done.stdout)["path"])
    origin = store.spec.origin
    assert origin is not None and origin.audit == "failed"
    assert origin.given == ("image.dtype", "image.pixels"), "the claim is refuted"
    assert store.spec.recipe == "" and store.attributes["audit"]["recipe"] == TGD.name
    assert "upside down" in store.attributes["audit"]["problems"][0]


def test_a_store_keeps_one_failed_claim(copied: Path, tmp_path: Path) -> None:
    change(copied, lambda a: a[::-1])
    first = audited(tmp_path, copied, keep=True)
    before = (first.path / "manifest.json").read_bytes()
    with pytest.raises(PiCacheError, match=r"fails to be made by tgd-cifar10; .* pi-cache rm "):
        audited(tmp_path, copied, keep=True, given=("image.sigma=0.02",))
    assert (first.path / "manifest.json").read_bytes() == before
    assert audited(tmp_path, copied, keep=True, count=3).key == first.key
    other = tmp_path / "other"
    audited(other, copied, keep=True, given=("image.sigma=0.02",))
    with pytest.raises(PiCacheError, match="fails to be made by tgd-cifar10, changed"):
        audited(other, copied, keep=True, given=("image.sigma=0.03",))


def test_another_store_of_the_same_images_is_named(
    tgd: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    said: list[str] = []
    first = imported(tmp_path, tgd[0], recipe=TGD.name, given=("image.sigma=0.5",), say=said.append)
    assert said == [] and first.spec.recipe == "tgd-cifar10, changed"
    second = audited(tmp_path, tgd[0], say=said.append)
    assert second.key != first.key and second.spec.recipe == TGD.name
    assert said[-1] == (
        f"note: store {first.key[:12]} holds the same images, not audited, as tgd-cifar10,"
        f" changed: keep both, or pi-cache rm {first.key[:12]}"
    )


def run_main(*words: str) -> Result:
    return CliRunner().invoke(cli, ["import", *words])


def test_misuse_is_told_apart(tmp_path: Path) -> None:
    save(tmp_path / "t" / "a.png", np.eye(8, dtype=np.uint8))
    for words, code in (
        ((), 2),
        ((str(tmp_path / "t"), "--rows", "x"), 2),
        ((str(tmp_path / "t"), "--recipe", "no-such"), 2),
        ((str(tmp_path / "t"), "--shape", "1,2"), 2),
        ((str(tmp_path / "t"), "--source", "no-such:thing"), 2),
        ((str(tmp_path / "none"),), 1),
    ):
        done = run_main(*words, "--cache", str(tmp_path / "c"))
        assert done.exit_code == code, (words, done.output)
        assert code == 2 or isinstance(done.exception, PiCacheError)
