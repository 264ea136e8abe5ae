"""`pi-cache serve` and `pi-cache token` as a user types them; every example of their help texts."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pi_cache.cli import cli
from pi_cache.commands.serve import serve
from pi_cache.commands.token import token
from pi_cache.errors import PiCacheError
from pi_cache.layout import Layout
from pi_cache.serving.tokens import TEXT, TokenFolder
from tests.pi_cache.made import make_spec, make_store
from tests.serving.lab import PATIENCE, serving

KEY_IN_HELP = re.compile(r"\b3f2a\w*")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    make_store(root)
    return root


def key(root: Path) -> str:
    return next((root / "stores").iterdir()).name


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), catch_exceptions=False)


def refused(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output and what is said of a command that fails."""
    result = CliRunner().invoke(cli, list(words))
    if isinstance(result.exception, PiCacheError):  # which `main` turns into a sentence
        return 1, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


def examples(*commands: click.Command) -> list[str]:
    lines = [line for command in commands for line in (command.epilog or "").splitlines()]
    return [line.strip() for line in lines if line.strip().startswith("pi-cache")]


@pytest.mark.parametrize("example", examples(serve))
def test_examples_of_serve_answer_and_end(
    example: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(example.replace("/data/pi", str(root)))
    if "--port" not in words:
        words += ["--port", "0"]  # the usual one may be in use
    with subprocess.Popen(
        [sys.executable, "-m", "pi_cache.cli", *words[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read()) == {"status": "ok", "stores": 1}
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stdout.read() == "", "the address alone is data"
        assert process.stderr.readline() == f"serving {url}; end it with Ctrl+C\n"


@pytest.mark.parametrize("example", examples(token, *token.commands.values()))
def test_examples_of_token_run(
    example: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PI_CACHE_TOKENS", str(tmp_path / "tokens"))
    monkeypatch.setenv("PI_CACHE", str(root))
    for folder in (str(tmp_path / "tokens"), str(tmp_path / "own")):
        assert run("token", "new", "--name", "bob", "--all-stores", "--tokens", folder).stdout
    words = KEY_IN_HELP.sub(key(root), example.replace("/data/pi/tokens", str(tmp_path / "own")))
    assert run(*shlex.split(words)[1:]).exit_code == 0


def test_a_token_is_printed_once_and_alone(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    words = ["--store", key(root)[:8], "--cache", str(root), "--tokens", str(folder)]
    result = run("token", "new", "--name", "alice", *words)
    text = result.stdout.strip()
    assert TEXT.fullmatch(text) and len(result.stdout.splitlines()) == 1
    assert text not in result.stderr and "not shown again" in result.stderr
    (kept,) = TokenFolder(folder).all()
    assert kept.stores == (key(root),) and kept.may == ("read",)
    listed = run("token", "list", "--tokens", str(folder), "--json")
    (document,) = json.loads(listed.stdout)
    assert (document["name"], document["state"]) == ("alice", "live")
    assert "sha256" not in document and text not in listed.output
    assert run("token", "revoke", kept.id, "--tokens", str(folder)).exit_code == 0
    assert run("token", "list", "--tokens", str(folder), "--json").stdout == "[]\n"


def test_tokens_as_json_are_for_programs(tmp_path: Path) -> None:
    words = ["--may", "watch", "--expires", "1h", "--tokens", str(tmp_path / "t"), "--json"]
    document = json.loads(run("token", "new", "--name", "p", *words).stdout)
    assert TEXT.fullmatch(document["token"]) and document["may"] == ["watch"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["token", "new", "--name", "a"], 2, "give either --store"),
        (["token", "new", "--name", "a", "--store", "abcd1234", "--all-stores"], 2, "give either"),
        (["token", "new", "--name", "a/b", "--all-stores"], 2, "the name of a token"),
        (["token", "new", "--name", "a", "--all-stores", "--expires", "x"], 2, "--expires"),
        (["token", "new", "--name", "a", "--store", "abcd1234"], 1, "no store 'abcd1234'"),
        (["token", "revoke", "nobody"], 1, "no token 'nobody'"),
        (["serve", "{root}", "--host", "0.0.0.0"], 1, "give --tokens FOLDER"),
        (["serve", "{root}", "--host", "::"], 1, "give --tokens FOLDER"),
        (["serve", "{root}", "--tokens", "none"], 1, "pi-cache token new makes one"),
        (["serve", "{root}", "--key", "{root}/pi-cache.json"], 2, "--key goes with"),
        (["serve", "{root}", "--certificate", "{root}/pi-cache.json"], 1, "no certificate"),
        (["serve", "{root}", "--timeout", "0"], 2, "timeout must be positive"),
        (["serve", "{root}", "--log", "none/x"], 1, "No such file or directory"),
        (["serve", "{root}/none"], 1, "no such folder"),
    ],
)
def test_misuse_and_refusals(
    words: list[str], code: int, message: str, root: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PI_CACHE", str(root))
    monkeypatch.setenv("PI_CACHE_TOKENS", str(tmp_path / "tokens"))
    found, printed, said = refused(*(word.format(root=root) for word in words))
    assert (found, printed) == (code, "") and message in said


def test_a_folder_of_tokens_that_others_may_write_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens").chmod(0o777)
    code, _, said = refused("serve", str(root), "--tokens", str(tmp_path / "tokens"))
    assert code == 1 and "chmod go-w" in said


def test_a_port_that_is_taken(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, said = refused("serve", str(root), "--port", str(taken.getsockname()[1]))
    assert code == 1 and "give another --port" in said


def test_a_missing_library_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pi_cache.cli", "serve", str(root)],
        capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the service needs uvicorn: pip install 'pi-cache[serve]'" in done.stderr


def test_everybody_may_read_where_that_is_meant(root: Path, tmp_path: Path) -> None:
    with serving(root, tmp_path, "--host", "0.0.0.0", "--insecure") as served:
        assert served.ask("/health").status == 200


def test_who_does_not_read_cannot_hold_the_end_up(tmp_path: Path) -> None:
    layout = Layout(shard_samples=4000, chunk_samples=8)
    path = make_store(tmp_path / "root", make_spec(4000), layout)
    asked = f"GET /stores/{path.name}/data.zarr/inputs/c.0.0.0.0 HTTP/1.1\r\nHost: localhost"
    with serving(tmp_path / "root", tmp_path, "--grace", "1") as served, socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        one.connect(served.address)
        one.sendall(f"{asked}\r\n\r\n".encode())
        one.recv(1)
        assert served.stop() == 0
        (line,) = served.lines()
        assert line["status"] == 200 and not line["complete"]


def test_what_is_sent_when_the_time_is_over_is_logged(tmp_path: Path) -> None:
    layout = Layout(shard_samples=4000, chunk_samples=8)
    path = make_store(tmp_path / "root", make_spec(4000), layout)
    asked = f"/stores/{path.name}/data.zarr/inputs/c.0.0.0.0"
    with serving(tmp_path / "root", tmp_path, "--grace", "0.2") as served, socket.socket() as one:
        assert served.ask(asked).status == 200, "known, so that it is answered at once"
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        one.connect(served.address)
        one.sendall(f"GET {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        one.recv(1)
        assert served.stop() == 0
        assert [line["complete"] for line in served.lines()] == [True, False]


def test_a_log_that_cannot_be_written_holds_up_no_answer(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    asked = f"/stores/{key(root)}/data.zarr/images/c.0.0.0.0"
    with serving(root, folder) as served:
        connection = http.client.HTTPConnection(*served.address, timeout=PATIENCE)

        def ask(path: str) -> int:
            connection.request("GET", path)
            reply = connection.getresponse()
            reply.read()
            return reply.status

        assert [ask(asked), ask(asked)] == [200, 200]
        used = connection.sock
        folder.rename(tmp_path / "away")
        assert [ask(asked), ask("/health"), ask("/none"), ask(asked)] == [200, 200, 404, 200]
        folder.mkdir()
        assert ask("/health") == 200 and connection.sock is used, "no connection was broken"
        connection.close()
        served.stop()
        assert served.process.stderr is not None
        said = served.process.stderr.read().splitlines()[1:]
    assert len(said) == 1 and "No such file or directory" in said[0], "told once"
    assert served.lines()[-1]["path"] == "/health"


def test_a_key_that_is_encrypted_is_not_asked_about(root: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    chain, own = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:word"]
    subject = ["-subj", "/CN=localhost", "-out", chain, "-keyout", own]
    subprocess.run([*words, *subject], check=True, capture_output=True)
    code, _, said = refused("serve", str(root), "--certificate", chain, "--key", own)
    assert code == 1 and f"{own}: the key is encrypted" in said and "openssl pkey" in said


def test_the_log_is_appended_to_and_may_be_rotated(root: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with serving(root, tmp_path) as served:
            served.ask("/health")
    assert len(served.lines()) == 2
    with serving(root, tmp_path) as served:
        served.log.rename(served.log.with_suffix(".1"))
        served.ask("/v1/stores")
    (line,) = served.lines()
    assert list(line) == [
        "time", "event", "address", "token", "method", "path", "status", "bytes", "seconds",
        "complete",
    ]  # fmt: skip
    assert (line["path"], line["status"], line["token"]) == ("/v1/stores", 200, None)
