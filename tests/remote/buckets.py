"""Servers of buckets: moto, Ceph's gateway where it is installed, and two that refuse to help."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.remote.lab import running

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "lab"


def surroundings(endpoint: str, key: str = "lab", secret: str = "labsecret") -> dict[str, str]:
    """The variables by which a command finds a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
    }


def start(words: list[str], endpoint: str) -> subprocess.Popen[str]:
    """A command of the cache at work: obstore runs in processes of its own, which nobody forks."""
    return subprocess.Popen(
        [sys.executable, "-m", "pi_cache.cli", *words],
        cwd=ROOT,
        env={**os.environ, **surroundings(endpoint)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Shell:
    """Runs commands one after the other in a process of its own, which starts once for all."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.remote.shell"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, words: list[str], endpoint: str) -> tuple[int, str, str]:
        """Exit status and what a command says on each of its outputs."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([words, surroundings(endpoint)]) + "\n")
        self.process.stdin.flush()
        status, told, talk = json.loads(self.process.stdout.readline())
        return status, told, talk


@contextmanager
def shell() -> Iterator[Shell]:
    """One for the tests of a module."""
    found = Shell()
    try:
        yield found
    finally:
        found.process.communicate(timeout=60)


@contextmanager
def moto() -> Iterator[str]:
    """The endpoint of a server of moto with one empty bucket."""
    pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(endpoint + "/moto-api/", process)
        _put(f"{endpoint}/{BUCKET}")
        yield endpoint
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[Any]) -> None:
    """Return once a server answers; as long as its process runs."""
    while process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} ended with {process.returncode}")


def _put(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30).close()


CEPH = ("radosgw", "ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool", "radosgw-admin", "ceph")


@contextmanager
def ceph(folder: Path) -> Iterator[str]:
    """The endpoint of Ceph's gateway with one empty bucket, all of it in memory."""
    missing = [name for name in CEPH if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no Ceph here: {missing[0]} is not installed")
    script = str(Path(__file__).with_name("ceph.sh"))
    try:
        done = subprocess.run(
            ["bash", script, "start", str(folder)], capture_output=True, text=True, timeout=180
        )
        if "ready" not in done.stdout:
            pytest.skip(f"Ceph does not start here: {done.stdout}{done.stderr[-300:]}")
        yield "http://127.0.0.1:18088"
    finally:
        subprocess.run(["bash", script, "stop", str(folder)], timeout=60)


class Plain(ThreadingHTTPServer):
    """A server of objects that knows no conditions. refuses: it says so, with status 501.

    failing: so many more puts of shards end without an answer, though they are done.
    """

    daemon_threads = True

    def __init__(self, refuses: bool) -> None:
        super().__init__(("127.0.0.1", 0), PlainHandler)
        self.refuses = refuses
        self.failing = 0
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class PlainHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Plain

    def log_message(self, *words: Any) -> None:
        pass

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.server.refuses and self.headers["If-None-Match"]:
            return self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")
        told = {k: v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-")}
        self.server.objects[self._name()] = data, told
        if self.server.failing and "/c." in self._name():
            self.server.failing -= 1
            self.close_connection = True
            return None
        self._answer(200, b"", {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    def do_GET(self) -> None:
        if "list-type" in parse_qs(urlsplit(self.path).query):
            return self._answer(200, b"<ListBucketResult></ListBucketResult>")
        if self._name() not in self.server.objects:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        data, told = self.server.objects[self._name()]
        size = len(data)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        known = {**told, "ETag": tag, "Last-Modified": "Fri, 27 Nov 2026 00:00:00 GMT"}
        if not found:
            return self._answer(200, data, known)
        start, stop = int(found[1]), min(int(found[2]) + 1, size)
        known["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._answer(206, data[start:stop], known)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Several objects removed at once."""
        wanted = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        gone = re.findall("<Key>(.*?)</Key>", wanted)
        for key in gone:
            self.server.objects.pop(f"{self._name().rstrip('/')}/{key}", None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in gone)
        self._answer(200, f"<DeleteResult>{told}</DeleteResult>".encode())

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(data)


@contextmanager
def plain(refuses: bool) -> Iterator[Plain]:
    """A server of objects without conditional writes."""
    with running(Plain(refuses)) as server:
        yield server


def make_bucket(endpoint: str) -> None:
    """A bucket, signed as Ceph wants it."""
    boto3 = pytest.importorskip("boto3")
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="lab",
        aws_secret_access_key="labsecret",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
