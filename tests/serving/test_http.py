"""The service as clients meet it: a real server, real sockets, every byte compared by digest."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pi_cache import catalogue, files
from pi_cache.layout import Layout
from pi_cache.reader import open_store
from tests.pi_cache.made import make_spec, make_store
from tests.serving.lab import Answer, Served, make_token, serving

LARGE = 4000
"""Samples of a store whose inputs are more than the buffers of a socket hold."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("캐시")
    make_store(root)
    make_store(root, make_spec(24))
    make_store(root, make_spec(LARGE), Layout(shard_samples=LARGE, chunk_samples=8))
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(root, tmp_path_factory.mktemp("log")) as served:
        yield served


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Path, Served]]:
    """A store and a service that a test may harm."""
    path = make_store(tmp_path / "root")
    with serving(tmp_path / "root", tmp_path) as served:
        yield path, served


def key_of(root: Path, samples: int) -> str:
    """The key of the store with so many samples."""
    return next(
        e.key for e in catalogue.stores(root) if e.spec and e.spec.source.samples == samples
    )


def until(wanted: object, ask: object, seconds: float = 30.0) -> object:
    """What `ask` says once it is what is wanted, or at last."""
    end = time.monotonic() + seconds
    while (found := ask()) != wanted and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.05)
    return found


def test_every_file_of_every_store_by_digest(root: Path, served: Served) -> None:
    for entry in catalogue.stores(root):
        assert entry.manifest is not None
        for name, listed in entry.manifest.files.items():
            answer = served.ask(f"/stores/{entry.key}/{name}")
            assert answer.status == 200
            assert len(answer.body) == int(answer.headers["content-length"]) == listed.size
            assert hashlib.sha256(answer.body).hexdigest() == listed.sha256
            assert answer.headers["etag"] == f'"{listed.sha256}"'
        for name in ("manifest.json", "spec.json"):
            answer = served.ask(f"/stores/{entry.key}/{name}")
            data = (entry.path / name).read_bytes()
            assert answer.body == data
            assert answer.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'


def test_every_answer_says_how_to_take_it(root: Path, served: Served) -> None:
    key = key_of(root, 20)
    for path in ("/nothing", "/v1/stores", "/health", f"/stores/{key}/spec.json", "/%41"):
        headers = served.ask(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "'none'" in headers["content-security-policy"]
        assert "content-encoding" not in headers and "server" not in headers
        assert "content-length" in headers


def test_ranges_hold_exactly_the_bytes_asked_for(root: Path, served: Served) -> None:
    name = f"/stores/{key_of(root, LARGE)}/data.zarr/inputs/c.0.0.0.0"
    data = served.ask(name).body
    size = len(data)
    assert size > 8_000_000
    rng = np.random.default_rng(3)
    for start, stop in np.sort(rng.integers(0, size, (40, 2)), axis=1).tolist():
        answer = served.ask(name, headers={"Range": f"bytes={start}-{stop}"})
        assert answer.status == 206 and answer.body == data[start : stop + 1]
        assert answer.headers["content-range"] == f"bytes {start}-{stop}/{size}"
    assert served.ask(name, headers={"Range": "bytes=-100"}).body == data[-100:]
    tail = served.ask(name, headers={"Range": f"bytes={size - 7}-"})
    assert (tail.status, tail.body) == (206, data[-7:])
    beyond = served.ask(name, headers={"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=0-1,4-5", "bytes=x", "lines=1-2", "bytes=5-4"):
        answer = served.ask(name, headers={"Range": ignored})
        assert (answer.status, answer.body == data) == (200, True)


def test_conditions(root: Path, served: Served) -> None:
    name = f"/stores/{key_of(root, 20)}/data.zarr/zarr.json"
    whole = served.ask(name)
    tag = whole.headers["etag"]
    same = served.ask(name, headers={"If-None-Match": tag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    assert served.ask(name, headers={"If-Match": '"other"'}).status == 412
    part = {"Range": "bytes=0-3"}
    assert served.ask(name, headers={**part, "If-Match": tag}).body == whole.body[:4]
    assert served.ask(name, headers={**part, "If-Range": tag}).status == 206
    assert served.ask(name, headers={**part, "If-Range": '"other"'}).body == whole.body


def test_head_is_get_without_a_body(root: Path, served: Served) -> None:
    for path in (f"/stores/{key_of(root, 20)}/manifest.json", "/v1/stores", "/health"):
        got, head = served.ask(path), served.ask(path, "HEAD")
        for answer in (got, head):
            del answer.headers["date"]
        assert head.body == b"" and head.status == got.status
        if path != "/v1/stores":  # which tells ages
            assert head.headers == got.headers


def test_stores_are_read_only(root: Path, served: Served) -> None:
    name = f"/stores/{key_of(root, 20)}/manifest.json"
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        answer = served.ask(name, method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    posted = served.ask(name, "POST", {"Content-Type": "application/json"}, b"{}")
    assert posted.status == 405
    for other in ({}, {"Content-Type": "text/plain"}):
        assert served.ask(name, "POST", other, b"{}").status == 415
    assert served.ask("/v1/stores", "DELETE").status == 405


@pytest.mark.parametrize("path", [
    "/stores/{key}", "/stores/{key}/", "/stores/{key}/data.zarr", "/stores/{key}/data.zarr/",
    "/stores/{key}//manifest.json", "//stores/{key}/manifest.json", "/stores//manifest.json",
    "/stores/{key}/./manifest.json", "/stores/{key}/data.zarr/../manifest.json",
    "/stores/../stores/{key}/manifest.json", "/stores/{key}/../../pi-cache.json",
    "/stores/{key}/%6danifest.json", "/stores/{key}/manifest.json%00", "/stores/{key}%2fspec.json",
    "/stores/{key}/..%2f..%2fpi-cache.json", "/stores/{key}/manifest.json/",
    "/stores/{key}/blueprint.json", "/stores/{key}/ledger/0.json", "/stores/{key}/tmp",
    "/stores/{key}/data.zarr\\zarr.json", "/stores/{key}/manifest.json;x", "/stores",
    "/stores/{upper}/manifest.json", "/stores/{short}/manifest.json", "/pi-cache.json",
    "/stores/{key}/manifest.json:x", "/v1", "/v1/", "/v1/stores/", "/v1/stores/{short}",
    "http://127.0.0.1/stores/{key}/manifest.json", "*", "/" + "a" * 9000, "/" + "a/" * 4000,
    "/health/", "/metrics/x", "/stores/{key}/data.zarr/images/c.0.0.0.0.",
])  # fmt: skip
def test_paths_are_looked_up_and_nothing_else(path: str, root: Path, served: Served) -> None:
    key = key_of(root, 20)
    answer = raw(served, path.format(key=key, upper=key.upper(), short=key[:12]))
    assert answer.status == 404 and answer.json["error"].startswith("there is nothing")


def raw(served: Served, target: str, *lines: str, method: str = "GET") -> Answer:
    """The answer to a target as it stands."""
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
    with socket.create_connection(served.address, 60) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        reply = http.client.HTTPResponse(connection, method=method)
        reply.begin()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, named, reply.read())


def test_a_question_mark_ends_the_path(root: Path, served: Served) -> None:
    assert raw(served, f"/stores/{key_of(root, 20)}/spec.json?token=secret").status == 200
    assert "secret" not in served.log.read_text()


def test_the_catalogue_tells_no_path_of_the_server(root: Path, served: Served) -> None:
    found = served.ask("/v1/stores").json
    assert {store["samples"] for store in found} == {LARGE, 24, 20}
    assert [store["age"] for store in found] == sorted(store["age"] for store in found)
    assert {store["state"] for store in found} == {"finished"}
    shown = served.ask(f"/v1/stores/{key_of(root, LARGE)}").json
    assert shown["samples"] == LARGE and shown["layout"]["shard_samples"] == LARGE
    assert str(root) not in json.dumps([found, shown], ensure_ascii=False)
    assert "path" not in found[0] and "path" not in shown


def test_health_and_metrics(served: Served) -> None:
    assert served.ask("/health").json == {"status": "ok", "stores": 3}
    text = served.ask("/metrics").body.decode()
    assert 'pi_cache_requests_total{method="GET",route="health",status="200"}' in text
    assert "pi_cache_connections 1.0" in text
    odd = served.ask("/" + "z" * 50, "BREW")
    assert odd.status == 404
    text = served.ask("/metrics").body.decode()
    assert 'method="other",route="other",status="404"' in text and "zzz" not in text


def test_health_says_when_the_root_is_gone(own: tuple[Path, Served]) -> None:
    path, served = own
    root = path.parents[1]
    root.rename(root.with_name("moved"))
    gone = served.ask("/health")
    assert (gone.status, gone.json) == (503, {"status": "the cache cannot be read"})
    assert served.ask("/v1/stores").status == 503
    assert str(root) not in served.ask("/v1/stores").json["error"]
    root.with_name("moved").rename(root)
    assert served.ask("/health").status == 200


# Damage, and what comes and goes.


@pytest.mark.parametrize("size", ["same", "shorter", "longer", "gone"])
def test_a_damaged_file_is_never_sent(size: str, own: tuple[Path, Served]) -> None:
    path, served = own
    name = "data.zarr/images/c.0.0.0.0"
    asked = f"/stores/{path.name}/{name}"
    data = served.ask(asked).body
    changed = {"same": data[:-1] + bytes([data[-1] ^ 1]), "shorter": data[:-1], "longer": data * 2}
    (path / name).unlink()
    if size != "gone":
        (path / name).write_bytes(changed[size])
    for headers in ({}, {"Range": "bytes=0-0"}):
        answer = served.ask(asked, headers=headers)
        assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
        assert "damaged" in answer.json["error"] and str(path) not in answer.json["error"]
    assert len(served.lines("damaged")) == 2
    assert "pi_cache_damaged_files_total 2.0" in served.ask("/metrics").body.decode()
    (path / name).unlink(missing_ok=True)
    (path / name).write_bytes(data)
    assert served.ask(asked).body == data, "it is checked again once it is another file"


def test_a_damaged_manifest_is_not_taken_for_none(own: tuple[Path, Served]) -> None:
    path, served = own
    place = path / "manifest.json"
    data = place.read_bytes()
    place.write_bytes(data.replace(b'"samples": 20', b'"samples": 21'))
    asked = f"/stores/{path.name}/manifest.json"
    assert until(500, lambda: served.ask(asked).status) == 500
    assert served.ask(f"/v1/stores/{path.name}").status == 500
    assert served.ask("/v1/stores").json == served.ask("/v1/stores").json == []
    told = served.lines("unread")
    assert len(told) == 1 and path.name in told[0]["problem"]
    place.write_bytes(data)
    assert until(200, lambda: served.ask(asked).status) == 200


def test_a_file_that_changes_while_it_is_sent_breaks_the_connection(tmp_path: Path) -> None:
    layout = Layout(shard_samples=LARGE, chunk_samples=8)
    path = make_store(tmp_path / "root", make_spec(LARGE), layout)
    place = path / "data.zarr/inputs/c.0.0.0.0"
    data = place.read_bytes()
    with serving(tmp_path / "root", tmp_path) as served, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(60)
        connection.connect(served.address)
        asked = f"GET /stores/{path.name}/data.zarr/inputs/c.0.0.0.0 HTTP/1.1\r\n"
        connection.sendall(f"{asked}Host: localhost\r\n\r\n".encode())
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        taken = reply.read(1 << 16)
        with place.open("r+b") as stream:
            stream.seek(len(data) - 5)
            stream.write(bytes([data[-5] ^ 1]))
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            while block := reply.read(1 << 16):
                taken += block
            raise http.client.IncompleteRead(b"")
        assert reply.status == 200 and len(taken) < len(data)
        assert data.startswith(taken), "what came before is right"
        assert until(1, lambda: len(served.lines("damaged"))) == 1
        assert "changed while it was sent" in served.lines("damaged")[0]["problem"]
        assert until([False], lambda: [line["complete"] for line in served.lines()]) == [False]


def test_stores_come_and_go_by_themselves(own: tuple[Path, Served]) -> None:
    path, served = own
    root = path.parents[1]
    new = make_store(root, make_spec(24))
    asked = f"/stores/{new.name}/data.zarr/zarr.json"
    assert until(200, lambda: served.ask(asked).status) == 200
    shutil.rmtree(new)
    assert until(404, lambda: served.ask(asked).status) == 404
    assert until(1, lambda: len(served.ask("/v1/stores").json)) == 1
    assert served.lines("damaged") == []


def test_a_store_that_goes_or_is_another_one_is_not_damaged(own: tuple[Path, Served]) -> None:
    path, served = own
    root, name = path.parents[1], "data.zarr/images/c.0.0.0.0"
    other = make_store(root.with_name("other"), None, Layout(shard_samples=5, chunk_samples=5))
    content, aside = (other / name).read_bytes(), root.with_name("aside")
    asked = [f"/stores/{path.name}/{name}", f"/v1/stores/{path.name}"]
    assert [served.ask(one).status for one in asked] == [200, 200]
    path.rename(aside)
    assert [served.ask(one).status for one in asked] == [404, 404]
    aside.rename(path)
    assert until(200, lambda: served.ask(asked[0]).status) == 200
    path.rename(aside)
    other.rename(path)
    answer = served.ask(asked[0])
    assert (answer.status, answer.body) == (200, content)
    assert served.ask(asked[1]).json["layout"]["shard_samples"] == 5
    assert served.lines("damaged") == []


def test_an_unfinished_store_is_not_there(own: tuple[Path, Served]) -> None:
    path, served = own
    (path / "manifest.json").unlink()
    for name in (f"/stores/{path.name}/spec.json", f"/v1/stores/{path.name}"):
        assert until(404, lambda name=name: served.ask(name).status) == 404


def test_links_and_folders_of_other_names_are_no_stores(own: tuple[Path, Served]) -> None:
    path, served = own
    shutil.copytree(path, path.with_name("copy"))
    assert served.ask("/stores/copy/manifest.json").status == 404
    shutil.copytree(path, path.with_name("f" * 64))
    time.sleep(1.1)
    assert served.ask(f"/stores/{'f' * 64}/manifest.json").status == 500, "another store's folder"


# Who may.


@pytest.fixture(scope="module")
def guarded(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with tokens, asked without one."""
    folder = tmp_path_factory.mktemp("settings") / "tokens"
    make_token(folder)
    with serving(root, folder.parent, "--tokens", str(folder)) as served:
        yield served


def tokens_of(served: Served) -> Path:
    return served.log.parent / "tokens"


def test_without_a_token_every_path_answers_the_same(root: Path, guarded: Served) -> None:
    key = key_of(root, 20)
    paths = ["/", "/health", "/metrics", "/v1/stores", f"/stores/{key}/manifest.json", "/none",
             "/%2e", "//", "/v1/requests", "*"]  # fmt: skip
    wrong = [[], ["Authorization: Bearer pic_0000000000000000_" + "a" * 43],
             ["Authorization: Basic YTpi"], ["Authorization: x"], ["Range: bytes=99-"]]  # fmt: skip
    found = set()
    for path in paths:
        for method in ("GET", "POST", "DELETE", "BREW"):
            for lines in wrong:
                answer = raw(guarded, path, *lines, method=method)
                answer.headers.pop("date")
                found.add((answer.status, tuple(answer.headers.items()), answer.body))
    assert len(found) == 1
    status, headers, body = found.pop()
    assert status == 401 and dict(headers)["www-authenticate"] == 'Basic realm="pi-cache"'
    assert json.loads(body)["error"].startswith("a valid token is needed")


def test_a_token_opens_its_stores_and_no_others(root: Path, guarded: Served) -> None:
    mine, other = key_of(root, 20), key_of(root, 24)
    token = make_token(tokens_of(guarded), "--store", mine, name="bob")
    time.sleep(1.1)
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    for sent in (f"Bearer {token}", f"Basic {basic}"):
        headers = {"Authorization": sent}

        def ask(path: str, headers: dict[str, str] = headers) -> Answer:
            answer = guarded.ask(path, headers=headers)
            answer.headers.pop("date")
            return answer

        assert ask(f"/stores/{mine}/manifest.json").status == 200
        assert [store["key"] for store in ask("/v1/stores").json] == [mine]
        assert ask("/health").json == {"status": "ok", "stores": 1}
        assert ask(f"/stores/{other}/manifest.json") == ask(f"/stores/{'0' * 64}/manifest.json")
        assert ask(f"/v1/stores/{other}") == ask("/nothing")
        assert ask("/metrics").status == 404
    lines = guarded.lines()
    assert {line["token"] for line in lines} >= {"bob", None}
    text = guarded.log.read_text()
    assert token not in text and token.split("_", 2)[2] not in text and basic not in text


def test_who_watches_sees_no_store(root: Path, guarded: Served) -> None:
    token = make_token(tokens_of(guarded), "--may", "watch", name="prometheus")
    time.sleep(1.1)
    headers = {"Authorization": f"Bearer {token}"}
    assert guarded.ask("/metrics", headers=headers).status == 200
    assert guarded.ask("/health", headers=headers).json == {"status": "ok", "stores": 3}
    assert guarded.ask("/v1/stores", headers=headers).json == []
    name = f"/stores/{key_of(root, 20)}/manifest.json"
    assert guarded.ask(name, headers=headers).status == 404


def test_a_revoked_token_ends_at_once(guarded: Served) -> None:
    token = make_token(tokens_of(guarded), name="carol")
    headers = {"Authorization": f"Bearer {token}"}
    assert until(200, lambda: guarded.ask("/health", headers=headers).status) == 200
    (tokens_of(guarded) / f"{token.split('_')[1]}.json").unlink()
    assert until(401, lambda: guarded.ask("/health", headers=headers).status) == 401


def test_a_folder_that_others_may_write_closes_the_service(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    token = make_token(folder)
    with serving(root, tmp_path, "--tokens", str(folder), token=token) as served:
        assert served.ask("/health").status == 200
        folder.chmod(0o777)
        assert until(401, lambda: served.ask("/health").status) == 401


@pytest.mark.parametrize("host", [
    "localhost", "localhost:80", "LOCALHOST", "127.0.0.1:8642", "[::1]:8642", "192.168.3.4",
    "cache.localhost",
])  # fmt: skip
def test_hosts_that_no_other_site_can_name(host: str, served: Served) -> None:
    assert served.ask("/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8642", "localhost.evil.example", "127.0.0.1.evil.example", "",
    "localhost:x", "localhost@evil", "evil.example/localhost",
])  # fmt: skip
def test_names_of_other_sites_are_refused(host: str, served: Served) -> None:
    assert served.ask("/health", headers={"Host": host}).status in (400, 421)


def test_a_name_can_be_allowed(root: Path, tmp_path: Path) -> None:
    with serving(root, tmp_path, "--allow-host", "Cache.lab.example") as served:
        for host in ("cache.lab.example", "cache.lab.example:80"):
            assert served.ask("/health", headers={"Host": host}).status == 200


def test_a_page_of_another_site_cannot_change_anything(served: Served) -> None:
    host = "{}:{}".format(*served.address)
    kind = {"Content-Type": "application/json"}
    for foreign in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": f"http://{host}"},
    ):  # fmt: skip
        assert served.ask("/v1/stores", "POST", {**kind, **foreign}, b"{}").status == 403
        assert served.ask("/v1/stores", "DELETE", foreign).status == 403
    own = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert served.ask("/v1/stores", "POST", {**kind, **own}, b"{}").status == 405


# Other programs.


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_reads_by_ranges(root: Path, served: Served, tmp_path: Path) -> None:
    key = key_of(root, LARGE)
    url = f"{served.url}/stores/{key}/data.zarr/inputs/c.0.0.0.0"
    size, sha256 = files.digest(root / "stores" / key / "data.zarr/inputs/c.0.0.0.0")
    step = size // 3 + 1
    parts = []
    for start in range(0, size, step):
        words = ["curl", "-sfS", "-r", f"{start}-{start + step - 1}", url]
        parts.append(subprocess.run(words, capture_output=True, check=True).stdout)
    assert hashlib.sha256(b"".join(parts)).hexdigest() == sha256
    place = tmp_path / "resumed"
    place.write_bytes(parts[0])
    subprocess.run(["curl", "-sfS", "-C", "-", "-o", str(place), url], check=True)
    assert files.digest(place) == (size, sha256)


def test_zarr_reads_a_served_store(root: Path, served: Served) -> None:
    zarr = pytest.importorskip("zarr")
    obstore = pytest.importorskip("obstore.store", reason="obstore is not installed")
    for samples, wanted in ((24, slice(None)), (LARGE, slice(1990, 2003))):
        key = key_of(root, samples)
        remote = obstore.HTTPStore.from_url(
            f"{served.url}/stores/{key}/data.zarr", client_options={"allow_http": True}
        )
        there = zarr.open_group(zarr.storage.ObjectStore(remote, read_only=True), mode="r")
        here = zarr.open_group(str(root / "stores" / key / "data.zarr"), mode="r")
        assert dict(there.attrs) == dict(here.attrs)
        for name in ("images", "inputs", "status", "labels", "ids", "offsets"):
            assert there[name].shape == here[name].shape
            assert np.array_equal(there[name][wanted], here[name][wanted], equal_nan=False)
        assert np.array_equal(there["points"][0, :500], here["points"][0, :500], equal_nan=True)
        rows = open_store(root / "stores" / key).read("images", wanted)
        assert np.asarray(there["images"][wanted]).tobytes() == rows.tobytes()


def test_a_stopped_service_finishes_what_it_sends(root: Path, tmp_path: Path) -> None:
    key = key_of(root, LARGE)
    name = f"/stores/{key}/data.zarr/inputs/c.0.0.0.0"
    size, sha256 = files.digest(root / "stores" / key / "data.zarr/inputs/c.0.0.0.0")
    with serving(root, tmp_path) as served:
        connection = http.client.HTTPConnection(*served.address, timeout=60)
        connection.request("GET", name)
        reply = connection.getresponse()
        first = reply.read(1000)
        os.kill(served.process.pid, 15)
        rest = reply.read()
        assert hashlib.sha256(first + rest).hexdigest() == sha256 and len(first + rest) == size
        connection.close()
        assert served.process.wait(60) == 0
        served.ended = 0
