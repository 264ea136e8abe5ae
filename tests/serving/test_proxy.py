"""The nginx block of the documents, in front of a real service."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pi_cache import catalogue
from tests.pi_cache.made import make_store
from tests.serving.lab import PATIENCE, Served, make_token, serving

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
NAME = "cache.example"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def certificate(folder: Path) -> None:
    """A certificate and its key for the name of the documents."""
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    named = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    out = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "chain.pem")]
    subprocess.run([*words, *named, *out], check=True, capture_output=True)


def configuration(folder: Path, served: Served, port: int) -> str:
    """The block of the documents, with ports and files of this test."""
    block = re.search(r"```nginx\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    text = block[1]
    for there, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:8642", "{}:{}".format(*served.address)),
        (f"/etc/ssl/{NAME}.pem", str(folder / "chain.pem")),
        (f"/etc/ssl/{NAME}.key", str(folder / "key.pem")),
    ):
        assert there in text
        text = text.replace(there, here)
    places = "".join(f"{name}_temp_path {folder / name};\n" for name in TEMPORARY)
    log = f"error_log {folder / 'error.log'};\npid {folder / 'pid'};\ndaemon off;\n"
    return f"{log}events {{}}\nhttp {{\naccess_log off;\n{places}{text}}}\n"


@contextmanager
def nginx(folder: Path, text: str) -> Iterator[None]:
    """nginx, once it listens."""
    place = folder / "nginx.conf"
    place.write_text(text)
    words = ["nginx", "-c", str(place), "-e", str(folder / "error.log")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + PATIENCE
            while not (folder / "pid").exists() and time.monotonic() < end:
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.02)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


@pytest.mark.skipif(
    shutil.which("nginx") is None or shutil.which("openssl") is None,
    reason="nginx (nginx-light) or openssl is not installed",
)
def test_the_block_of_the_documents_serves_every_byte(tmp_path: Path) -> None:
    path = make_store(tmp_path / "root")
    token, port = make_token(tmp_path / "tokens"), free_port()
    certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "chain.pem"))
    options = ["--tokens", str(tmp_path / "tokens"), "--per-address", "0"]
    with (
        serving(tmp_path / "root", tmp_path, *options) as served,
        nginx(tmp_path, configuration(tmp_path, served, port)),
    ):
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
        client = http.client.HTTPSConnection(NAME, port, timeout=PATIENCE)
        client.sock = trusted.wrap_socket(raw, server_hostname=NAME)

        def ask(target: str, **headers: str) -> tuple[int, bytes]:
            client.request("GET", target, headers=headers)
            reply = client.getresponse()
            return reply.status, reply.read()

        known = {"Authorization": f"Bearer {token}"}
        manifest = catalogue.read_manifest(path)
        for name, entry in manifest.files.items():
            status, data = ask(f"/stores/{path.name}/{name}", **known)
            assert (status, hashlib.sha256(data).hexdigest()) == (200, entry.sha256)
        part = ask(f"/stores/{path.name}/manifest.json", Range="bytes=2-9", **known)
        assert part == (206, (path / "manifest.json").read_bytes()[2:10])
        assert ask("/v1/stores")[0] == 401
        assert ask(f"/stores/{path.name}/x/..%2fmanifest.json", **known)[0] == 404
        client.request(
            "POST", "/v1/stores", b"{}",
            {**known, "Content-Type": "application/json", "Origin": f"https://{NAME}:{port}"},
        )  # fmt: skip
        assert client.getresponse().status == 405, "not taken for a page of another site"
        client.close()
