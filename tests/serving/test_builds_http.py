"""Builds on demand as clients meet them: a real server, tokens, events, and `pi-cache request`."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pi_cache.cli import cli
from pi_cache.commands.request import progress_line, request
from pi_cache.errors import BuildFailed, PiCacheError, RemoteFailed
from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
from pi_cache.remote.asking import Answer as Reply
from pi_cache.remote.asking import Requests
from pi_cache.serving.builds.events import event_stream
from pi_cache.serving.builds.records import ENDED
from tests.pi_cache.made import make_spec
from tests.serving.builds_lab import PATIENCE, StandIn, is_gone, made_stores, wait
from tests.serving.lab import Answer, Served, make_token, serving

SMALL, OTHER = ({"source": "digits", "limit": limit} for limit in (20, 21))
JSON = {"Content-Type": "application/json"}
KEY = make_spec(20).key


class Site:
    """A service with tokens. root: of its cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir()
        made_stores(folder / "made")
        self.stand_in = StandIn(folder / "made")
        self.tokens = {
            name: make_token(folder / "tokens", *words, name=name)
            for name, words in {
                "builder": ("--may", "build"),
                "alice": ("--may", "read", "--may", "build", "--store", "0" * 64),
                "head": ("--may", "read", "--may", "build"),
                "reader": ("--may", "read"),
                "watcher": ("--may", "watch"),
            }.items()
        }

    def serve(self, *more: str) -> Any:
        """The service while it runs."""
        options = ("--tokens", str(self.folder / "tokens"), "--source", "digits=digits", *more)
        return serving(self.root, self.folder, *options, environment=self.stand_in.environment)

    def ask(self, served: Served, name: str, document: Any, **headers: str) -> Answer:
        """A request of a token."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.send(served, name, "/v1/requests", "POST", {**JSON, **headers}, body)

    def send(self, served: Served, name: str, path: str, *more: Any) -> Answer:
        """Anything, by a token."""
        served.token = self.tokens[name]
        return served.ask(path, *more)

    def state(self, served: Served, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """What is told of a request now."""
        answer = self.send(served, name, told["url"])
        assert answer.status == 200
        return dict(answer.json)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Served]]:
    """A service that the tests of this module share; each asks in words of its own."""
    site = Site(tmp_path_factory.mktemp("shared"))
    with site.serve("--requests-an-hour", "1000") as served:
        yield site, served


def test_a_store_is_built_read_by_who_asked_and_by_nobody_else(
    shared: tuple[Site, Served],
) -> None:
    site, served = shared
    path = f"/stores/{KEY}/manifest.json"
    assert site.send(served, "builder", path).status == 404
    told = site.ask(served, "builder", SMALL)
    assert told.status == 202 and told.headers["location"] == told.json["url"]
    assert told.json["key"] == KEY and told.json["store"] is None
    assert told.json["estimate"]["bytes"] == 75_800
    wait(lambda: site.state(served, "builder", told.json)["state"] == "finished")
    assert site.send(served, "builder", path).status == 200
    assert site.send(served, "alice", path).status == 404
    assert site.send(served, "builder", f"/stores/{'0' * 64}/manifest.json").status == 404
    again = site.ask(served, "alice", {**SMALL, "image": {}})
    assert again.status == 200 and again.json["store"] == f"/stores/{KEY}"
    assert site.send(served, "alice", path).status == 200
    served.token = make_token(site.folder / "tokens", "--may", "build", name="builder")
    wait(lambda: served.ask(path).status == 200)  # what replaces a token is of the same name


def test_the_spec_of_a_finished_store_is_answered_at_once(shared: tuple[Site, Served]) -> None:
    site, served = shared
    wait(lambda: site.ask(served, "head", SMALL).json["state"] == "finished")
    before = site.send(served, "head", "/v1/requests").json["requests"]
    spec = json.loads(site.send(served, "head", f"/stores/{KEY}/spec.json").body)
    told = site.ask(served, "head", spec)
    assert told.status == 200
    assert told.json == {"state": "finished", "key": KEY, "store": f"/stores/{KEY}"}
    assert site.send(served, "head", "/v1/requests").json["requests"] == before


@pytest.mark.parametrize(
    ("name", "document", "status", "message"),
    [
        ("reader", SMALL, 403, "may not ask for builds"),
        ("watcher", SMALL, 403, "may not ask for builds"),
        ("alice", b"{", 400, "not JSON"),
        ("alice", b" " * 70_000, 413, "at most 65536 bytes"),
        ("alice", {**SMALL, "source_options": {"labels": "/etc/passwd"}}, 400, "administrator"),
        ("alice", {"source": "array:/etc/passwd"}, 422, "sources: digits"),
        ("alice", {**SMALL, "recipe": "nope"}, 422, "no recipe 'nope'"),
    ],
)
def test_what_is_not_taken_is_told(
    shared: tuple[Site, Served], name: str, document: Any, status: int, message: str
) -> None:
    site, served = shared
    told = site.ask(served, name, document)
    assert told.status == status and message in told.json["error"]


def test_a_page_of_another_site_asks_for_nothing(shared: tuple[Site, Served]) -> None:
    site, served = shared
    assert site.ask(served, "alice", SMALL, Origin="http://evil.example").status == 403
    assert site.ask(served, "alice", SMALL, **{"Content-Type": "text/plain"}).status == 415
    served.token = ""
    assert served.ask("/v1/requests", "POST", JSON, b"{}").status == 401


def test_who_may_see_and_cancel_a_request(site: Site) -> None:
    site.stand_in.wait(60)
    with site.serve() as served:
        told = site.ask(served, "alice", SMALL).json
        for name, status in {"builder": 404, "reader": 200, "head": 200, "watcher": 404}.items():
            assert site.send(served, name, told["url"]).status == status, name
            assert site.send(served, name, f"{told['url']}/events", "HEAD").status == status
            listed = site.send(served, name, "/v1/requests").json["requests"]
            assert len(listed) == (status == 200), name
            refused = site.send(served, name, told["url"], "DELETE").status
            assert refused == (404 if status == 404 else 403), name
        for path in ("/v1/requests/x", f"/v1/requests/{'0' * 32}", "/v1/requests/..%2f"):
            assert site.send(served, "head", path).status == 404
        cancelled = site.send(served, "alice", told["url"], "DELETE")
        assert cancelled.status == 200 and cancelled.json["state"] == "cancelled"
        assert site.send(served, "alice", told["url"], "PUT", JSON, b"{}").status == 405


def events_of(served: Served, told: dict[str, Any], **headers: str) -> Iterator[tuple[str, Any]]:
    """The events of a request, until they end."""
    connection = http.client.HTTPConnection(*served.address, timeout=PATIENCE)
    given = {"Authorization": f"Bearer {served.token}", **headers}
    connection.request("GET", f"{told['url']}/events", headers=given)
    reply = connection.getresponse()
    assert reply.status == 200 and reply.getheader("content-type", "").startswith("text/event")
    name = ""
    for line in reply:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        if line.startswith(b"data: "):
            yield name, json.loads(line[6:])
    connection.close()


def test_events_tell_how_far_it_is_until_it_has_ended(site: Site) -> None:
    site.stand_in.wait(0.7)
    with site.serve() as served:
        told = site.ask(served, "alice", SMALL).json
        events = list(events_of(served, told, **{"Last-Event-ID": "7\u00e9"}))
        assert events[0][0] == "state" and events[-1][1]["state"] == "finished"
        done = [found["progress"]["shards_done"] for _, found in events if found["progress"]]
        assert done == sorted(done) and {1, 2} & set(done)
        assert {name for name, _ in events} == {"state", "progress"}
        after = list(events_of(served, told))
        assert [found["state"] for _, found in after] == ["finished"]


def test_events_end_with_the_token_that_asked_for_them(site: Site) -> None:
    site.stand_in.wait(PATIENCE)
    with site.serve() as served:
        told = site.ask(served, "alice", SMALL).json
        events = events_of(served, told)
        assert next(events)[1]["state"] not in ENDED
        for place in (site.folder / "tokens").glob("*.json"):
            place.unlink()
        assert all(found["state"] not in ENDED for _, found in events)
        assert served.ask(told["url"]).status == 401


def test_a_quiet_stream_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from pi_cache.serving.builds import events

    monkeypatch.setattr(events, "BEAT", 0.0)
    monkeypatch.setattr(events, "LOOK", 0.0)
    states = iter([*["running"] * 3, "finished"])

    async def status() -> dict[str, Any]:
        return {"state": next(states)}

    async def parts() -> list[bytes]:
        return [part async for part in event_stream(status, lambda: False)]

    first, *beats, last = asyncio.run(parts())
    assert first.startswith(b"event: state\nid: 1\n") and last.startswith(b"event: state\nid: 2\n")
    assert beats == [b": still here\n\n"] * 2


def test_only_so_many_listen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from pi_cache.serving.builds.builds import Builds
    from pi_cache.serving.builds.routes import Asking
    from pi_cache.serving.builds.settings import BuildSettings
    from pi_cache.serving.service import Service

    builds = Builds(site.root, BuildSettings(listeners=1))
    asking = Asking(Service(root=site.root), builds)
    asking._listeners = 1

    async def find(request: Any) -> Any:
        return object()

    monkeypatch.setattr(asking, "_find", find)
    answer = asyncio.run(asking.events(None))  # type: ignore[arg-type]
    assert answer.status_code == 429 and b"as many listen already" in answer.body


def test_a_service_that_is_told_to_end_goes_on_when_it_is_started(site: Site) -> None:
    site.stand_in.wait(0.5)
    with site.serve() as served:
        told = site.ask(served, "alice", SMALL).json
        wait(lambda: list(site.stand_in.marks.glob("000001.*")))
        stream = events_of(served, told)
        assert next(stream)[1]["state"] == "running"
        assert served.stop() == 0
        assert all(found["state"] == "running" for _, found in stream)
    assert not (site.root / "stores" / KEY / "manifest.json").exists()
    with site.serve() as served:
        wait(lambda: site.state(served, "alice", told)["state"] == "finished")
    assert [str(found) for found in verify(site.root / "stores" / KEY)] == []
    assert len(list(site.stand_in.marks.glob("000000.*"))) == 1


def test_a_service_that_is_killed_leaves_no_build_behind_and_goes_on(site: Site) -> None:
    site.stand_in.wait(0.5)
    with site.serve() as served:
        told = site.ask(served, "alice", SMALL).json
        wait(lambda: list(site.stand_in.marks.glob("000001.*")))
        os.kill(served.process.pid, signal.SIGKILL)
        served.ended = served.process.wait(PATIENCE)
        builder = int(next(site.stand_in.marks.glob("000001.*")).name.split(".")[1])
        wait(lambda: is_gone(builder))
    assert not (site.root / "stores" / KEY / "manifest.json").exists()
    with site.serve() as served:
        wait(lambda: site.state(served, "alice", told)["state"] == "finished")
    assert len(open_store(site.root / "stores" / KEY)) == 20


def test_without_tokens_everybody_on_this_machine_may_ask(site: Site) -> None:
    options = ("--source", "digits=digits")
    with serving(site.root, site.folder, *options, environment=site.stand_in.environment) as served:
        told = served.ask("/v1/requests", "POST", JSON, json.dumps(SMALL).encode())
        assert told.status == 202
        wait(lambda: served.ask(told.json["url"]).json["state"] == "finished")
        assert served.ask(told.json["url"], "PATCH").status == 405


def test_a_service_without_sources_builds_nothing(site: Site) -> None:
    with serving(site.root, site.folder) as served:
        told = served.ask("/v1/requests", "POST", JSON, json.dumps(SMALL).encode())
        assert told.status == 501 and "--source NAME=SOURCE" in told.json["error"]


def test_a_service_without_the_pipeline_says_how_to_install_it(site: Site) -> None:
    """As where a package of it is missing: the child says which."""
    broken = site.folder / "broken"
    broken.mkdir()
    (broken / "numba.py").write_text("raise ModuleNotFoundError('no', name='numba')\n")
    environment = {"PYTHONPATH": str(broken)}
    options = ("--source", "digits=digits")
    with serving(site.root, site.folder, *options, environment=environment) as served:
        told = served.ask("/v1/requests", "POST", JSON, json.dumps(SMALL).encode())
        wait(lambda: served.ask(told.json["url"]).json["state"] == "failed")
        found = served.ask(told.json["url"]).json
        assert 'pip install "pi-cache[pipeline]"' in found["error"]


# The command


@pytest.fixture
def asked(shared: tuple[Site, Served], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `pi-cache request` against the shared service, by a token."""
    site, served = shared

    def run(*words: str, name: str = "head") -> Result:
        monkeypatch.setenv("PI_CACHE_TOKEN", site.tokens[name])
        return CliRunner().invoke(cli, ["request", served.url, *words])

    return run


def examples() -> list[str]:
    lines = (request.epilog or "").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("pi-cache")]


@pytest.mark.parametrize("example", examples())
def test_examples_of_the_command_run(
    example: str, shared: tuple[Site, Served], asked: Callable[..., Result]
) -> None:
    site, _ = shared
    spec = str(site.stand_in.folder / "20" / "spec.json")
    words = [spec if "spec.json" in word else word for word in shlex.split(example)[3:]]
    if "--source" in words:  # the stand-in has stores of 20 samples, and knows no recipe
        number = words.index("--limit") if "--limit" in words else len(words)
        words = [*words[:number], *words[number + 2 :], "--limit", "20"]
    result = asked(*words)
    assert result.exit_code == 0, result.output


def test_the_command_waits_and_says_where_the_store_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.stand_in.wait(0.7)
    with site.serve() as served:
        monkeypatch.setenv("PI_CACHE_TOKEN", site.tokens["alice"])
        words = ["request", served.url, "--source", "digits", "--limit", "20", "--wait"]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
        assert f"store    {served.url}/stores/{KEY}\n" in result.stdout
        assert "computing: shard 1 of 3" in result.stderr and "finished" in result.stderr
        whole = CliRunner().invoke(cli, [*words[:-1], "--json"])
        assert json.loads(whole.stdout)["key"] == KEY


def test_who_stops_waiting_stops_no_build_until_it_is_cancelled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.stand_in.wait(60)
    environment = {**os.environ, "PI_CACHE_TOKEN": site.tokens["alice"]}
    with site.serve() as served:
        words = ["request", served.url, "--source", "digits", "--limit", "20", "--wait"]
        waiting = subprocess.Popen(
            [sys.executable, "-m", "pi_cache.cli", *words],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        wait(lambda: list(site.stand_in.marks.glob("000000.*")))
        assert waiting.stderr is not None and waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        said = waiting.communicate(timeout=PATIENCE)[1]
        told = site.send(served, "alice", "/v1/requests").json["requests"][0]
        assert waiting.returncode == 130 and f"--cancel {told['id']}" in said
        assert told["state"] == "running"
        monkeypatch.setenv("PI_CACHE_TOKEN", site.tokens["alice"])
        run = CliRunner().invoke
        assert "shard 0 of 3" in run(cli, ["request", served.url, "--list"]).stdout
        cancelled = run(cli, ["request", served.url, "--cancel", told["id"]])
        assert "state    cancelled" in cancelled.stdout
        assert "cancelled" in run(cli, ["request", served.url, "--list"]).stdout


def test_the_command_waits_for_a_service_that_is_restarted(site: Site) -> None:
    site.stand_in.wait(0.7)
    environment = {**os.environ, "PI_CACHE_TOKEN": site.tokens["alice"]}
    with site.serve() as served:
        words = ["request", served.url, "--source", "digits", "--limit", "20", "--wait"]
        waiting = subprocess.Popen(
            [sys.executable, "-m", "pi_cache.cli", *words],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        wait(lambda: list(site.stand_in.marks.glob("000001.*")))
        port = str(served.address[1])
        served.stop()
    with site.serve("--port", port):
        out, _ = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 0 and f"/stores/{KEY}" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--source", "nope"], 1, "no source 'nope' here; sources: digits"),
        (["--source", "digits", "--recipe", "nope", "--wait"], 1, "no recipe 'nope'"),
        (["--list", "--wait"], 2, "go with nothing but URL"),
        ([], 2, "name the data: --source NAME"),
        (["--cancel", "0" * 32], 1, "nothing of that name here"),
    ],
)
def test_the_command_says_what_was_wrong(
    asked: Callable[..., Result], words: list[str], code: int, message: str
) -> None:
    result = asked(*words)
    if isinstance(result.exception, PiCacheError):  # which `main` turns into a sentence
        assert code == 1 and message in str(result.exception)
    else:
        assert result.exit_code == code and message in result.output


def test_the_command_refuses_who_may_not(asked: Callable[..., Result]) -> None:
    result = asked("--source", "digits", name="reader")
    assert "this token may not ask for builds" in str(result.exception)


def test_waiting_goes_on_past_answers_that_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    at = {"id": "0" * 32, "state": "running"}
    busy = Reply(429, {"error": "too many requests a second"})
    replies = [Reply(200, {}), busy, Reply(503, {}), Reply(200, {**at, "state": "finished"})]
    requests = Requests("http://127.0.0.1:8642", "pic_x")
    monkeypatch.setattr(requests, "_send", lambda *more: replies.pop(0))
    states = [now["state"] for now in requests.follow(at, lambda seconds: None)]
    assert states == ["running", "finished"] and not replies


@pytest.mark.parametrize("document", [{}, {"state": 3}, {"state": "queued"}])
def test_what_is_no_service_is_told(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests("http://127.0.0.1:8642", "pic_x")
    monkeypatch.setattr(requests, "_send", lambda *more: Reply(200, document))
    for call in (lambda: requests.ask(SMALL), requests.listed, lambda: requests.cancel("0")):
        with pytest.raises(RemoteFailed, match="is the address right"):
            call()


def test_a_quota_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = Requests("http://127.0.0.1:8642", "pic_x")
    monkeypatch.setattr(requests, "_send", lambda *more: Reply(429, {"error": "60 are allowed"}))
    with pytest.raises(BuildFailed, match="60 are allowed"):
        requests.ask(SMALL)


def test_progress_in_words() -> None:
    progress = {"phase": "computing", "shards_done": 1, "shards": 3, "rate": 12.34}
    found = {"state": "running", "progress": {**progress, "seconds_left": 90.0}}
    assert progress_line(found) == "computing: shard 1 of 3, 12.3 samples/s, about 90.0 s left"
    assert progress_line({"state": "queued", "position": 2}) == (
        "queued: 2 of the builds that wait"
    )
