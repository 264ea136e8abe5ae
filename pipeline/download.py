"""One file over HTTP: pooch checks and stores it, and what broke off is resumed.

pooch starts again after an interruption; on a slow line a gigabyte never arrives that way.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests

from pi_cache.errors import PiCacheError, StorageFull

BLOCK = 2**18
TRIES = 5
TIMEOUT_S = 30.0
REPORT_EVERY_S = 30.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WEB_PAGE = (b"<!doctype html", b"<html")
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,  # cut within the body
)


class FetchFailed(PiCacheError, OSError):
    """A download that gave no or wrong bytes; says which, and what to do."""


def download(
    url: str, path: Path, checksum: str | None, *, say: Callable[[str], None] = print
) -> Path:
    """`path`, downloaded from `url` unless it is there with the right checksum.

    checksum: "sha256:..." or "md5:...", or None to take any bytes (and any file already there).
    An interrupted download leaves `path`.partial and goes on from there when asked again.
    Raises FetchFailed for a broken or refused connection, a web page or a wrong checksum, and
    StorageFull.
    """
    pooch.get_logger().setLevel("WARNING")  # `say` tells what happens
    try:
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=Resuming(path, say))
    except (FetchFailed, StorageFull):
        raise
    except requests.RequestException as error:
        raise FetchFailed(_explain(url, error)) from error
    except ValueError as error:
        raise FetchFailed(
            f"{url}: {error} Run it again; if that gives the same checksum, the publisher has "
            "changed the file"
        ) from None
    except OSError as error:
        if error.errno in FULL:
            raise _full(path, None) from None
        raise
    return path


def _full(path: Path, needed: int | None) -> StorageFull:
    free = shutil.disk_usage(path.parent).free
    return StorageFull(
        errno.ENOSPC,
        f"{path.parent} has {free} bytes free, {needed or 'more'} are needed for {path.name}; free "
        "some or choose another folder, and run it again: it goes on where it stopped",
    )


def _explain(url: str, error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = f"{error.response.status_code} {error.response.reason}"
        return f"{url} answered {status}, expected the file; the address may have changed"
    host = urlsplit(url).hostname
    if isinstance(error, BROKEN):
        return (
            f"{host} could not be reached or broke off ({type(error).__name__}); are you offline? "
            "Run it again to go on where it stopped"
        )
    return f"{url} could not be downloaded: {error}"


class Resuming:
    """A pooch downloader that keeps what has arrived in `path`.partial.

    Beside it lies the address and validator (ETag or date) it came with: the server is asked for
    the rest of that very file, and sends a changed one whole (If-Range, RFC 9110 section 13.1.5).
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path, self.say = path, say
        self.partial = path.with_name(f"{path.name}.partial")
        self.origin = path.with_name(f"{path.name}.partial.origin")

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Downloads `url` into `output_file`. Raises FetchFailed, StorageFull, RequestException."""
        for attempt in range(1, TRIES + 1):
            before = self._have()
            try:
                self._go_on(url)
                break
            except BROKEN as error:
                # Another try only if this one brought something: else it is the server, or no line.
                if attempt == TRIES or self._have() <= before:
                    raise
                self.say(f"{self.path.name}: broke off at {self._have()} bytes ({error}); going on")
        self.partial.replace(output_file)
        self.origin.unlink(missing_ok=True)

    def _have(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _go_on(self, url: str) -> None:
        """One request for what is missing; the partial file is whole when it returns."""
        have, validator = self._have(), self._validator(url)
        headers = {"Accept-Encoding": "identity"}  # bytes of the file, whatever its type
        if have and validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            status, extent = response.status_code, response.headers.get("Content-Range", "")
            if status == RANGE_NOT_SATISFIABLE and extent == f"bytes */{have}":
                return  # nothing is missing: the last run was stopped right before the end
            response.raise_for_status()
            if status != PARTIAL_CONTENT:
                self._receive(url, response, 0)
            elif extent.startswith(f"bytes {have}-"):
                self._receive(url, response, have)
            else:
                raise FetchFailed(
                    f"{url} sent the range {extent!r}, expected the bytes from {have}; remove "
                    f"{self.partial} and run it again"
                )

    def _validator(self, url: str) -> str:
        """What the server said of the partial file, "" where that came from another address."""
        if not self.origin.exists():
            return ""
        address, _, validator = self.origin.read_text().partition("\n")
        return validator.strip() if address == url else ""

    def _receive(self, url: str, response: requests.Response, start: int) -> None:
        """Writes the body from byte `start` on. Raises where it is a web page or breaks off."""
        length = int(response.headers.get("Content-Length", -1))
        if shutil.disk_usage(self.path.parent).free < length:
            raise _full(self.path, length)
        blocks = response.iter_content(BLOCK)
        first = next(blocks, b"")
        if not start and first.lstrip()[:20].lower().startswith(WEB_PAGE):
            raise FetchFailed(
                f"{url} sent a web page, expected {self.path.name}; open it in a browser: it may "
                "ask for a login or tell a new address"
            )
        end = start + length if length >= 0 else None
        with self.partial.open("r+b" if start else "wb") as file:
            # Only now: a partial file never lies beside the validator of another one.
            self.origin.write_text(f"{url}\n{_validator_of(response)}\n")
            file.seek(start)
            told = time.monotonic()
            for block in chain([first], blocks):
                file.write(block)
                if time.monotonic() - told > REPORT_EVERY_S:
                    told = time.monotonic()
                    of_all = f" of {end / 1e6:.0f}" if end else ""
                    self.say(f"{self.path.name}: {file.tell() / 1e6:.0f}{of_all} MB")
            done = file.tell()
        if end is not None and done != end:
            raise requests.ConnectionError(f"{done} bytes came, {end} were promised")


def _validator_of(response: requests.Response) -> str:
    """A strong ETag, else the date, "" for none. A weak ETag may stand for other bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag[:1] == '"' else response.headers.get("Last-Modified", "")
