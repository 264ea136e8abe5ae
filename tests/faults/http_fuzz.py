"""Random requests to the service in this process, each answer compared with an obvious model."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.faults import Loop, demand
from tests.faults.http_lab import Lab, Who, guarded, lacking, open_lab
from tests.faults.http_truth import CANARY, NOWHERE, Asked, Headers, Response, Truth
from tests.faults.http_wire import responses

REQUESTS = 10
"""Of one round."""
PLAIN_METHODS = [b"GET"] * 12 + [b"HEAD"] * 2
ODD_METHODS = [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"get", b"X"]
ERRORS = {400, 403, 404, 405, 406, 409, 411, 413, 415, 416, 421, 422, 429, 501}
"""What may be answered to who may read, where nothing is to be had."""
PAGES = [
    b"/", b"/v1/stores", b"/v1/requests", b"/health", b"/metrics", b"/page/app.js", b"/favicon.ico",
    b"/stores", b"/stores/", b"/page/", b"/page/../app.py", b"/page/%2e%2e/app.py", b"/docs", b"",
]  # fmt: skip
SECRETS = [
    b"secret.json", b"tmp/secret", b"data.zarr/secret", b"data.zarr/images/c.99.0",
    b"../secret.json", b"../../secret.json", b"data.zarr/../../../secret.json", b"blueprint.json",
    b"ledger/000000.json", b"data.zarr", b"data.zarr/", b"data.zarr/images", b"",
]  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One request. clean: it is written as every client writes it, so its answer is known."""

    method: bytes
    path: bytes
    who: Who
    headers: Headers = ()
    body: bytes = b""
    clean: bool = True
    asked: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def head(self) -> bytes:
        """Its head as it is sent."""
        given = (*self.who.headers, *self.headers)
        lines = [b"%s: %s\r\n" % (name.title(), value) for name, value in given]
        return b"".join([b"%s %s HTTP/1.1\r\n" % (self.method, self.path), *lines, b"\r\n"])

    def scope(self) -> dict[str, Any]:
        """What the server makes of it."""
        path, _, query = self.path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method.decode(),
            "scheme": "http",
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [
                (name.lower(), value) for name, value in (*self.who.headers, *self.headers)
            ],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }


Application = Callable[..., Any]


async def answer(
    application: Application, request: Request, *, between: Callable[[], object] = bool
) -> Response:
    """What an application sends in answer to a request. between: called after each block.

    An exception is what breaks a connection off: then the response is not whole.
    """
    given = [{"type": "http.request", "body": request.body, "more_body": False}]
    gone = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append({**message, "body": bytes(message.get("body", b""))})
        between()

    ended = False
    try:
        await application(request.scope(), receive, send)
        ended = bool(sent) and not sent[-1].get("more_body", False)
    except Exception:
        demand(sent, "it failed before it answered")
    start, *blocks = sent
    headers = tuple((bytes(n).lower(), bytes(v)) for n, v in start["headers"])
    response = Response(start["status"], headers, b"".join(block["body"] for block in blocks))
    length = response.get(b"content-length")
    short = request.method != b"HEAD" and length is not None and int(length) != len(response.body)
    return response._replace(whole=ended and not short)


def one(seed: int) -> str:
    """Some requests; the words for their answers."""
    chance = random.Random(seed)
    lab = guarded() if chance.random() < 0.7 else open_lab()
    first, *_ = [_one(lab, chance) for _ in range(REQUESTS)]
    return first


def _one(lab: Lab, chance: random.Random) -> str:
    request = draw(lab, chance)
    try:
        response = lab.ask(request)
        word = judge(lab, request, response)
        return word + " at once" * _at_once(lab, request, response)
    except AssertionError as error:
        raise AssertionError(f"{error}; asked by {request.who.name}: {request!r:.1500}") from error


def _at_once(lab: Lab, request: Request, response: Response) -> bool:
    """Whether it is answered without h11 and the routes; then by the same bytes as with them."""
    answer = lab.at_once(request.head)
    if answer is None:
        return False
    (found,) = responses(answer.head)
    body, part = bytes(answer.first), answer.part
    while len(body) < part.stop - part.start:
        body += answer.checked.block(part._replace(start=part.start + len(body)))
    same = found._replace(body=body).said == response.said
    demand(same, f"at once it answers {found.brief}, else {response.brief}")
    return True


def judge(lab: Lab, request: Request, response: Response) -> str:
    """Raise Violation unless a response is one that the request may have; a word for it."""
    demand(CANARY not in response.body, "a canary was sent")
    if request.who.keys is None:
        return _refused(lab, response)
    demand(response.get(b"x-content-type-options") == b"nosniff", "nosniff is missing")
    _check_hidden(lab.truth, request, response)
    found = lab.truth.file(request.path.partition(b"?")[0])
    if found and found[0] in request.who.keys and request.method in (b"GET", b"HEAD"):
        if request.clean:
            return Asked(request.method, found[1], **request.asked).check(response)
        return _sane(request, response, found[1])
    return _other(lab, request, response)


def _refused(lab: Lab, response: Response) -> str:
    """Who may nothing has the one answer, whatever was asked."""
    expected = lab.refusal
    demand(response.said == expected.said, f"not the one refusal: {response.brief}")
    return str(response.status)


def _check_hidden(truth: Truth, request: Request, response: Response) -> None:
    """Nothing tells of a store that who asks may not read, but what he said himself."""
    whole = repr(response.headers).encode() + response.body
    for key in {*truth.keys, truth.unfinished} - (request.who.keys or frozenset()):
        told = key.encode() in whole and key.encode() not in request.path + request.body
        demand(not told, f"store {key[:8]} is told of")


def _sane(request: Request, response: Response, content: bytes) -> str:
    """A request that is written oddly may be refused; what is sent is right all the same."""
    if response.status == 200:
        expected = b"" if request.method == b"HEAD" else content
        demand(response.body == expected, "200 with other bytes")
    elif response.status == 206:
        start, _, end = _content_range(response)
        demand(response.body == content[start : end + 1] != b"", "206 with other bytes")
    else:
        demand(response.status in ERRORS | {304, 412}, f"status {response.status}")
    return f"odd {response.status}"


def _content_range(response: Response) -> tuple[int, bytes, int]:
    unit, _, rest = (response.get(b"content-range") or b"").partition(b" ")
    start, dash, end = rest.partition(b"/")[0].partition(b"-")
    demand(unit == b"bytes" and dash, "206 without Content-Range")
    return int(start), dash, int(end)


def _other(lab: Lab, request: Request, response: Response) -> str:
    """The path names no file that may be read."""
    demand(response.status < 500 or response.status == 501, f"{response.brief}")
    if response.status in ERRORS:
        if request.method != b"HEAD":
            _check_error(response)
        return _twin(lab, request, response)
    demand(response.status in {200, 204, 206, 304, 405}, f"status {response.status}")
    listed = lab.truth.stores
    keys = frozenset(listed) - (request.who.keys or frozenset())
    demand(not lab.truth.holds(response.body, keys) or not response.body, "a file is sent")
    decoded = unquote_to_bytes(request.path.partition(b"?")[0])
    if lab.truth.holds(response.body, request.who.keys or frozenset()) and response.body:
        demand(lab.truth.file(decoded), f"a file is sent for {request.path!r}")
    return f"page {response.status}"


def _check_error(response: Response) -> None:
    told = json.loads(response.body)
    demand(set(told) == {"error"} and told["error"], f"no sentence: {response.body!r:.200}")


def _twin(lab: Lab, request: Request, response: Response) -> str:
    """What may not be read answers as what does not exist."""
    hidden = [key for key in lab.truth.keys if key not in (request.who.keys or ())]
    for key in hidden:
        named = key.encode()
        if named in request.path and request.method in (b"GET", b"HEAD"):
            other = Request(
                request.method, request.path.replace(named, NOWHERE.encode()), request.who,
                request.headers, request.body,
            )  # fmt: skip
            twin = lab.ask(other)
            here = repr(response.said).replace(key, NOWHERE)
            demand(
                here == repr(twin.said), f"it tells that it is there: {response.brief} {twin.brief}"
            )
            return f"hidden {response.status}"
    return f"none {response.status}"


def draw(lab: Lab, chance: random.Random) -> Request:
    """A random request."""
    known = chance.random() < 0.75
    who = chance.choice([who for who in lab.people if (who.keys is not None) is known])
    method = chance.choice(PLAIN_METHODS if chance.random() < 0.85 else ODD_METHODS)
    path, clean = _path(lab.truth, chance)
    headers, asked, known = _conditions(lab.truth, path, chance)
    if chance.random() < 0.2:
        headers += _junk(chance)
    body = b""
    if method in ODD_METHODS and chance.random() < 0.6:
        body = _document(chance)
        kind = chance.choice([b"application/json", b"text/plain", b"application/json;x=\xff"])
        headers += ((b"content-type", kind), (b"content-length", b"%d" % len(body)))
    return Request(method, path, who, headers, body, clean and known, asked)


def _path(truth: Truth, chance: random.Random) -> tuple[bytes, bool]:
    """A path, and whether it is written as the model knows it."""
    key = chance.choice([*truth.keys, *truth.keys, *truth.keys, truth.unfinished, NOWHERE])
    store = f"/stores/{key}/".encode()
    kind = chance.random()
    if kind < 0.65 and key in truth.stores:
        path = store + chance.choice(sorted(truth.stores[key])).encode()
    elif kind < 0.8:
        path = store + chance.choice(SECRETS)
    elif kind < 0.88:
        path = chance.choice(PAGES)
    elif kind < 0.95:
        tail = chance.choice([b"", b"/", b"/samples", b"/samples/0", b"/samples?limit=-1", b"/x"])
        path = b"/v1/stores/" + key.encode() + tail
    else:
        path = b"/" + chance.randbytes(chance.randrange(30)).replace(b"?", b"")
    if chance.random() < 0.7:
        return path, True
    return chance.choice(MANGLES)(path, chance), False


def _escape(path: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(path) + 1)
    return path[:at] + b"%%%02x" % (path[at] if at < len(path) else 0) + path[at + 1 :]


def _insert(path: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(path) + 1)
    more = [
        b"/", b"//", b"/./", b"/../", b"..", b"%2e%2e%2f", b"%252e%252e/", b"\\", b"%5c..%5c",
        b"%00", b"\0", b"%c0%ae%c0%ae/", b";a=b", b"#", b"?x=/stores/", b"%", b"%zz", b" ", b"%20",
        b"\xff", b"%ff", b"/etc/passwd", b"file:///", b"~",
    ]  # fmt: skip
    return path[:at] + chance.choice(more) + path[at:]


MANGLES: list[Callable[[bytes, random.Random], bytes]] = [
    _escape,
    _insert,
    lambda path, chance: b"http://127.0.0.1" + path,
    lambda path, chance: b"http://evil.example" + path,
    lambda path, chance: b"/" + path,
    lambda path, chance: path.upper(),
    lambda path, chance: path + b"?" + chance.randbytes(9),
    lambda path, chance: path * 40,
    lambda path, chance: path[: chance.randrange(len(path) + 1)],
    lambda path, chance: path.replace(b"/", b"%2f"),
]


def _conditions(
    truth: Truth, path: bytes, chance: random.Random
) -> tuple[Headers, dict[str, bytes], bool]:
    """Headers of a range and of conditions, by name of `Asked`; whether the model knows them."""
    found = truth.file(path)
    content = found[1] if found else b"0123456789"
    tag = Asked(b"GET", content).tag
    asked: dict[str, bytes] = {}
    if chance.random() < 0.7:
        asked["ranges"] = _range(len(content), chance)
    for name in ("match", "none_match", "if_range"):
        if chance.random() < 0.12:
            asked[name] = chance.choice(_tags(tag) if name != "if_range" else [tag, b'"x"', b"x"])
    names = {
        "ranges": b"range",
        "match": b"if-match",
        "none_match": b"if-none-match",
        "if_range": b"if-range",
    }
    headers = [(names[name], value) for name, value in asked.items()]
    if headers and chance.random() < 0.1:  # twice: whatever is sent must be right
        return (*headers, chance.choice(headers)), asked, False
    return tuple(headers), asked, True


def _tags(tag: bytes) -> list[bytes]:
    other = b'"' + b"a" * 64 + b'"'
    return [tag, b"*", other, b"W/" + tag, other + b", " + tag, other + b",W/" + tag, b'""']


def _range(size: int, chance: random.Random) -> bytes:
    near = [0, 1, size - 1, size, size + 1, chance.randrange(size), chance.randrange(size), 10**9]
    first, last = chance.choice(near), chance.choice(near)
    kind = chance.random()
    if kind < 0.4:
        return b"bytes=%d-%d" % (min(first, last), max(first, last))
    if kind < 0.55:
        return b"bytes=%d-" % first
    if kind < 0.7:
        return b"bytes=-%d" % last
    odd = [
        b"bytes=5-2", b"bytes=-", b"bytes=", b"bytes", b"", b"=", b"lines=0-5", b"bytes=a-b",
        b"bytes=0-0,2-3", b"bytes=" + b"0-," * 3000 + b"0-1", b"bytes=-" + b"9" * 30,
        b"bytes=" + b"9" * 5000 + b"-", b"bytes=0x0-0x5", b"bytes=0-5,", b"bytes=+1-5",
        b"bytes=1_0-2_0", b"bytes=0--1", b"bytes=--1", b"bytes=0-5\x00", b"bytes=\xb2-\xb3",
        "bytes=\u0663-\u0665".encode(), b"bytes:0-5", b"bytes=0-5;q=1", b"0-5",
    ]  # fmt: skip
    return chance.choice(odd)


def _junk(chance: random.Random) -> Headers:
    names = [
        b"x-forwarded-for", b"x-forwarded-host", b"forwarded", b"accept-encoding", b"expect", b"te",
        b"accept", b"x-http-method-override", b"origin", b"upgrade", b"cookie",
        b"x-original-url", b"x-rewrite-url", b"sec-fetch-site", b"if-modified-since", b"referer",
    ]  # fmt: skip
    values = [b"", b"evil.example", b"/stores/", b"gzip", b"100-continue", b"\xff\x00", b"a" * 9000]
    return tuple((chance.choice(names), chance.choice(values)) for _ in range(chance.randint(1, 4)))


def _document(chance: random.Random) -> bytes:
    return chance.choice(
        [
            b"", b"{}", b"[]", b"null", b"{", b"[" * 50_000, b'{"spec": {}}', b'{"spec": []}',
            b'{"a": 1, "a": 2}', b"NaN", b"1e999", b"\xff\xfe", b'{"spec": "' + b"a" * 70_000,
            b'{"key": "../../secret"}', b'{"spec": {"source": {"kind": "../.."}}}',
        ]
    )  # fmt: skip


LOOPS = {"HTTP fuzz": Loop(one, ci=500, soak=200_000, lacking=lacking)}
