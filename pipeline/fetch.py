"""Public data sets, downloaded once: checked, resumed where a download broke off, and unpacked.

`data/registry.json` names each with its address, checksum, licence and citation. An archive is
unpacked in a temporary folder that gets its name at the end, so a folder of that name is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pi_cache.errors import SourceError, StorageFailed, UnsupportedFormat
from pi_cache.nearest import hint
from pipeline.download import FetchFailed, download
from pipeline.unpack import unpack

__all__ = ["Dataset", "FetchFailed", "data_folder", "fetch", "load_registry"]

REGISTRY_FORMAT = 1
MARKER = ".pi-data.json"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One public data set.

    urls: the same archive, tried in order. checksum: "sha256:..." or "md5:...", None where no
    publisher or independent user states one. bytes: of the archive, None where not known.
    folder: inside the archive, what `source` wants. source: how to build from it, with {path}.
    """

    name: str
    title: str
    urls: tuple[str, ...]
    checksum: str | None
    bytes: int | None
    folder: str
    source: str
    licence: str
    citation: str

    @property
    def archive(self) -> str:
        """File name of the download."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name


def load_registry(path: Path | None = None) -> dict[str, Dataset]:
    """Every known data set by name, from the file given or the one of this release.

    Raises UnsupportedFormat for another format version, SourceError for what is no registry.
    """
    path = path or _registry_path()
    try:
        document = json.loads(path.read_bytes())
        version = document["format_version"]
        if version != REGISTRY_FORMAT:
            raise UnsupportedFormat(
                f"{path} has format {version!r}, this release reads {REGISTRY_FORMAT}"
            )
        return {name: _entry(name, values) for name, values in document["datasets"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UnsupportedFormat):
            raise
        raise SourceError(f"{path} is no registry of data sets ({error!r})") from None


def _entry(name: str, values: Mapping[str, Any]) -> Dataset:
    if Path(name).name != name:
        raise ValueError(f"{name!r} cannot be the name of a folder")
    known = {field.name for field in fields(Dataset)} - {"name"}
    if set(values) != known:
        raise ValueError(f"{name} must have exactly {sorted(known)}, got {sorted(values)}")
    return Dataset(name=name, **{**values, "urls": tuple(values["urls"])})


def _registry_path() -> Path:
    """In a checkout `data/registry.json`, else the copy that the installed package brought."""
    root = Path(__file__).resolve().parents[1]
    if (root / "pyproject.toml").is_file():
        return root / "data" / "registry.json"
    installed = [
        Path(str(file.locate())).resolve()
        for file in metadata.files("pi-cache") or []
        if file.parts[-3:] == ("share", "pi-cache", "registry.json")
    ]
    # `pip install --target` puts `share` beside the packages, and records another place.
    for path in (*installed, root / "share" / "pi-cache" / "registry.json"):
        if path.is_file():
            return path
    raise SourceError(
        "this installation has no registry.json; install pi-cache again, or give a registry"
    )


def data_folder() -> Path:
    """Where data sets go unless told otherwise: $PI_DATA, else the user's cache."""
    if chosen := os.environ.get("PI_DATA"):
        return Path(chosen)
    import platformdirs

    return platformdirs.user_cache_path("pi-cache") / "datasets"


def fetch(
    name: str,
    destination: Path | None = None,
    *,
    registry: Mapping[str, Dataset] | None = None,
    say: Say | None = None,
) -> Path:
    """The folder to build from, downloaded and unpacked below `destination`/`name` if not there.

    An archive already in `destination` is taken when its checksum is right, which is the way for
    machines without a network. A run that was stopped goes on where it was.
    say: gets one line a step; by default they go to stderr.
    Raises SourceError for an unknown name or a hostile archive, FetchFailed where no address gives
    the right bytes, StorageFull and StorageFailed.
    """
    say = say or _print
    dataset = _find(name, load_registry() if registry is None else registry)
    root = (destination or data_folder()).expanduser().resolve()
    folder = root / name
    if _is_whole(folder, dataset):
        say(f"{name} is already in {folder}")
        return folder / dataset.folder
    with _typed_storage(root):
        root.mkdir(parents=True, exist_ok=True)
        with _only_one(root, name):
            archive = _download(dataset, root, say)
            _unpack(archive, folder, dataset, say)
            archive.unlink()
    return folder / dataset.folder


def _print(line: str) -> None:
    print(line, file=sys.stderr)


def _find(name: str, registry: Mapping[str, Dataset]) -> Dataset:
    if name in registry:
        return registry[name]
    meant = hint(name, registry)
    raise SourceError(f"no data set {name!r} is known{meant}; known are {', '.join(registry)}")


def _is_whole(folder: Path, dataset: Dataset) -> bool:
    """Whether the folder is there, made by us, from the archive of this release's registry."""
    if not folder.exists():
        return False
    try:
        marker = json.loads((folder / MARKER).read_bytes())
        if marker["checksum"] == dataset.checksum or dataset.checksum is None:
            return True
        found = f"was unpacked from {marker['checksum']}, expected {dataset.checksum}"
    except (OSError, ValueError, KeyError, TypeError):
        found = f"has no {MARKER}, so it was not unpacked by this command"
    raise SourceError(f"{folder} {found}; move it away, or fetch into another folder")


def _download(dataset: Dataset, root: Path, say: Say) -> Path:
    """The checked archive, from the first address that gives it."""
    problems = []
    for url in dataset.urls:
        size = f" ({dataset.bytes / 1e6:.0f} MB)" if dataset.bytes else ""
        say(f"{dataset.name}: {dataset.archive}{size} from {url}")
        try:
            archive = download(url, root / dataset.archive, dataset.checksum, say=say)
        except FetchFailed as error:
            problems.append(str(error))
            say(f"{dataset.name}: {error}")
            continue
        if dataset.checksum is None:
            say(
                f"{dataset.name}: WARNING: no checksum is known for it, so nobody checked these "
                f"bytes; they have {_sha256(archive)}, compare it with another copy's"
            )
        return archive
    raise FetchFailed(
        f"{dataset.name} could not be downloaded: {'; '.join(problems)}. On a machine without a "
        f"network put {dataset.archive} into {root} and run this again"
    )


def _sha256(path: Path) -> str:
    import pooch

    return f"sha256:{pooch.file_hash(str(path))}"


def _unpack(archive: Path, folder: Path, dataset: Dataset, say: Say) -> None:
    """Unpacks beside the folder, then gives it its name: the folder appears whole or not at all."""
    say(f"{dataset.name}: unpacking {archive.name}")
    prefix = f".{dataset.name}-"
    for stale in folder.parent.glob(f"{prefix}*.unpacking"):
        shutil.rmtree(stale, ignore_errors=True)  # of a killed run: this one holds the lock
    temporary = Path(tempfile.mkdtemp(".unpacking", prefix, folder.parent))
    try:
        files, size = unpack(archive, temporary)
        if not (temporary / dataset.folder).is_dir():
            raise SourceError(f"{archive} has no folder {dataset.folder}; is it {dataset.title}?")
        checksum = dataset.checksum or _sha256(archive)
        marker = {"name": dataset.name, "checksum": checksum, "files": files, "bytes": size}
        (temporary / MARKER).write_text(json.dumps(marker) + "\n")
        temporary.chmod(0o755)  # mkdtemp makes it private
        if hasattr(os, "sync"):
            os.sync()  # the name must not outlive the content; one call for up to 300,000 files
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(f"{dataset.name}: {files} files, {size / 1e6:.0f} MB in {folder}; cite {dataset.citation}")


@contextlib.contextmanager
def _only_one(root: Path, name: str) -> Iterator[None]:
    """Keeps a second fetch of the same data from adding to the same partial file."""
    try:
        import fcntl
    except ImportError:  # Windows: the checksum still finds what two writers spoilt
        yield
        return
    with (root / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FetchFailed(
                f"{name} is being fetched into {root} by another process; wait for it"
            ) from None
        yield


@contextlib.contextmanager
def _typed_storage(root: Path) -> Iterator[None]:
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise StorageFailed(
            error.errno, f"{root} cannot be written ({error}); give another folder, or set PI_DATA"
        ) from None
