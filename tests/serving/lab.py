"""A real service: the `pi-cache serve` command in a process of its own, on a free loopback port."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

import pi_cache.cli

PATIENCE = 60.0
"""Seconds after which a service that does not answer, or does not end, counts as hanging."""


class Answer(NamedTuple):
    """What came back: headers by their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a document."""
        return json.loads(self.body)


@dataclass
class Served:
    """A service that runs. url: without a slash at its end."""

    url: str
    process: subprocess.Popen[str]
    log: Path
    token: str = ""
    ended: int | None = field(default=None)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return host, int(port)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request on a connection of its own, with the token where there is one."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request(method, path, body, {**given, **(headers or {})})
            reply = connection.getresponse()
            named = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, named, reply.read())
        finally:
            connection.close()

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """What was logged of an event."""
        lines = map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["event"] == event]

    def memory(self) -> int:
        """Bytes of memory that its process takes (RSS)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """Tell it to end; its exit status."""
        if self.ended is None:
            self.process.send_signal(signal.SIGTERM)
            self.ended = self.process.wait(PATIENCE)
        return self.ended


@contextmanager
def serving(
    root: Path, folder: Path, *options: str, token: str = "", environment: Mapping[str, str] = {}
) -> Iterator[Served]:
    """The service of a root while it runs. folder: where its log goes. options: of the command."""
    log = folder / "serve.jsonl"
    command = [sys.executable, "-m", "pi_cache.cli", "serve", str(root), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--log", str(log), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the service did not start: {process.stderr.read()}")
        served = Served(url, process, log, token)
        yield served
        served.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)
        process.stdout.close()
        process.stderr.close()


def make_token(folder: Path, *words: str, name: str = "alice") -> str:
    """The text of a new token. words: options of `pi-cache token new`, all stores unless said."""
    scope = [] if {"--store", "--all-stores"} & set(words) else ["--all-stores"]
    command = ["token", "new", "--name", name, "--tokens", str(folder), *scope, *words]
    result = CliRunner().invoke(pi_cache.cli.cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()
