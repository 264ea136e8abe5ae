"""What the page is told of samples, compared with the store itself and with `pipeline report`."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.types import Message

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store, open_store
from pi_cache.serving import pictures, samples
from pi_cache.serving.answers import PIECE, ROOM, Answer
from pi_cache.serving.limits import Room
from pi_cache.serving.overview import OUTSIDE, overview
from pi_cache.serving.pictures import MOST_SAMPLES, Choice, averaged, most_persistent
from pi_cache.specs import Status
from pipeline.reports.coverage import coverage
from tests.pi_cache.made import make_spec, make_store
from tests.serving import shown
from tests.serving.lab import Served, make_token, serving

DEFAULTS = {"after": 0, "limit": 12, "channel": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def signals(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    place = shown.write_signals(tmp_path_factory.mktemp("data"))
    return open_store(shown.make_signals(root, place), root=root)


@pytest.fixture(scope="module")
def fields(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    place = shown.write_signals(tmp_path_factory.mktemp("data"))
    return open_store(shown.make_fields(root, place), root=root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(make_store(tmp_path_factory.mktemp("made"), make_spec(37)))


def values(part: dict[str, Any]) -> NDArray[Any]:
    """An array as a client reads it."""
    data = np.frombuffer(base64.b64decode(part["base64"]), part["dtype"])
    return data.reshape(part["shape"])


def test_the_overview_tells_what_the_report_tells(signals: Store) -> None:
    found, told = overview(signals), coverage(signals)
    window = found["window"]
    for name in (
        "points",
        "points_inside",
        "persistence_inside",
        "empty_diagrams",
        "flat_channels",
    ):
        assert window[name] == told[name], name
    assert window["essential"] == told["essential_dropped"]
    for mine, theirs in zip(window["channels"], told["channels"], strict=True):
        for name in ("name", "points", "points_inside", *OUTSIDE, "birth", "persistence"):
            assert mine[name] == theirs[name], name
    for mine, theirs in zip(found["inputs"], told["inputs"], strict=True):
        assert mine == {name: theirs[name] for name in mine}


def test_the_overview_counts_the_tables(signals: Store) -> None:
    found = overview(signals)
    assert found["labels"] == [{"label": k, "name": str(k), "samples": 8} for k in range(3)]
    assert found["splits"] == {"test": 6, "train": 18}
    assert found["groups"] == 4
    assert found["status"] == {"OK": 22, "NAN": 1, "CONSTANT": 1}
    assert [channel["input"] for channel in found["channels"]] == [0, 1]


def test_axes_run_over_the_cells_in_field_units(signals: Store, fields: Store) -> None:
    rows, columns = overview(signals)["axes"]
    assert (rows["name"], rows["low"], rows["high"]) == ("persistence", 0, pytest.approx(20))
    assert (columns["name"], columns["low"], columns["high"]) == ("birth", -12, pytest.approx(12))
    time, _ = overview(fields)["axes"]
    assert (time["low"], time["high"], time["ascending"]) == (0, pytest.approx(64), True)
    assert overview(fields)["values"] == [-1, 1]


def test_axes_of_imported_images_may_be_unknown(tmp_path: Path) -> None:
    store = open_store(shown.make_imported(tmp_path), root=tmp_path)
    found = overview(store)
    assert [axis["low"] for axis in found["axes"]] == [None, None]
    assert not found["has_diagrams"]
    assert found["window"] is None
    page = samples.page(store, DEFAULTS)
    assert page["samples"][0]["channels"][0]["points"] is None


def test_descending_rows_are_told(tmp_path: Path) -> None:
    store = open_store(make_store(tmp_path, make_spec(5, row_order="descending")))
    rows, columns = overview(store)["axes"]
    assert not rows["ascending"]
    assert columns["ascending"]
    assert (rows["low"], rows["high"]) == (0, pytest.approx(1))


@pytest.mark.parametrize("channel", [0, 2])
def test_pictures_hold_the_numbers_of_the_store(made: Store, channel: int) -> None:
    page = samples.page(made, {**DEFAULTS, "limit": 37, "channel": channel})
    assert [sample["sample"] for sample in page["samples"]] == list(range(37))
    for sample in page["samples"]:
        number = sample["sample"]
        (part,) = sample["channels"]
        if made.status[number] == Status.UNDECODABLE:
            assert sample["input"] is None
        else:
            stored = made.read("inputs", [number])[0]
            np.testing.assert_array_equal(values(sample["input"]), stored)
        if made.status[number] != Status.OK:
            assert (part["image"], part["points"]) == (None, None)
            continue
        exact = made.diagram(number, channel)
        assert part["points_in_all"] == len(exact)
        assert sorted(values(part["points"]).tolist()) == sorted(exact.astype(np.float32).tolist())
        stored = made.read("images", [number])[0, channel].astype(np.float32)
        np.testing.assert_array_equal(values(part["image"]), stored)


def test_bytes_are_told_as_what_they_stand_for(fields: Store) -> None:
    page = samples.page(fields, DEFAULTS)
    stored = fields.read("images", [0])[0, 0]
    image = values(page["samples"][0]["channels"][0]["image"])
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(image, stored / 127.5 - 1, atol=1e-6)


def test_samples_that_failed_have_their_code_and_no_image(signals: Store) -> None:
    (broken,) = samples.page(signals, {**DEFAULTS, "status": "NAN"})["samples"]
    assert (broken["sample"], broken["status"]) == (4, "NAN")
    assert broken["channels"][0]["image"] is None
    assert np.isnan(values(broken["input"])[3, 1])
    (flat,) = samples.page(signals, {**DEFAULTS, "status": "CONSTANT"})["samples"]
    assert (flat["sample"], flat["channels"][0]["points_in_all"]) == (6, 1)


def test_windows_tell_their_rate(signals: Store, made: Store) -> None:
    assert samples.one(signals, 0) | {"rate": 10.0} == samples.one(signals, 0)
    assert samples.one(made, 0) | {"rate": None} == samples.one(made, 0)


@pytest.mark.parametrize("label", [None, 0, 3, 9])
@pytest.mark.parametrize("status", [None, "OK", "NAN", "CRASH"])
@pytest.mark.parametrize("each", [None, 0, 1, 3])
def test_chosen_rows_are_those_of_a_plain_loop(
    made: Store, label: int | None, status: str | None, each: int | None
) -> None:
    fitting = [
        n
        for n in range(len(made))
        if label in (None, made.labels[n]) and (status is None or made.status[n] == Status[status])
    ]
    if each is not None:
        by_label = {k: [n for n in fitting if made.labels[n] == k] for k in range(4)}
        fitting = [n for k in range(4) for n in by_label[k][:each]]
    assert Choice(label=label, status=status, each=each).rows(made).tolist() == fitting


@pytest.mark.parametrize("limit", [1, 5, 48])
def test_pages_follow_each_other_without_gaps(made: Store, limit: int) -> None:
    seen, after = [], 0
    while after is not None:
        page = samples.page(made, {**DEFAULTS, "limit": limit, "after": after, "each": 7})
        seen += [sample["sample"] for sample in page["samples"]]
        after = page["next"]
    assert seen == Choice(each=7).rows(made).tolist()
    assert page["total"] == len(seen)


def test_an_answer_is_bounded(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {**DEFAULTS, "limit": 10**6}
    assert len(samples.page(made, asked)["samples"]) <= MOST_SAMPLES
    monkeypatch.setattr(samples, "MOST_BYTES", 1)
    page = samples.page(made, asked)
    assert (len(page["samples"]), page["next"]) == (1, 1)
    assert len(samples.one(made, 0)["channels"]) == 1  # type: ignore[index]


def test_the_most_persistent_points_stay() -> None:
    rng = np.random.default_rng(3)
    points = rng.random((50, 2))
    points[7, 1] = np.inf
    kept = most_persistent(points, 10)
    lengths = sorted((abs(death - birth) for birth, death in points), reverse=True)[:10]
    assert [abs(death - birth) for birth, death in kept] == lengths
    assert kept[0, 1] == np.inf


@pytest.mark.parametrize("side", [1, 255, 256, 257, 600])
def test_large_images_are_averaged(side: int) -> None:
    image = np.random.default_rng(1).random((side, side), np.float32)
    found = averaged(image)
    k = 1 if side <= 256 else 2 if side < 512 else 3
    assert found.shape == (-(-side // k),) * 2
    for row, column in ((0, 0), (len(found) // 2, 0), (0, len(found) // 2)):
        block = image[row * k : row * k + k, column * k : column * k + k]
        assert found[row, column] == pytest.approx(block.mean(), rel=1e-6)


def test_large_inputs_are_left_out(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pictures.sample_bytes(made, 1)
    monkeypatch.setattr(pictures, "LARGEST_INPUT", 3 * 30 * 30 - 1)
    assert samples.one(made, 0)["input"] is None  # type: ignore[index]
    assert pictures.sample_bytes(made, 1) == before - 3 * 30 * 30


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (b"label=x", "label must be a whole number"),
        (b"label=-2", "label must be a whole number"),
        (b"limit=1e3", "limit must be a whole number"),
        (b"after=99999999999999999999", "after must be a whole number"),
        (b"after=%D9%A1", "after must be a whole number"),
        (b"status=ok", "status must be one of OK"),
        (b"order=id", "unknown 'order'"),
        (b"a" * 3000, "at most 2048"),
    ],
)
def test_queries_that_say_nothing_are_refused(query: bytes, told: str) -> None:
    with pytest.raises(InvalidSpec, match=told):
        samples.parse_query(query)


def test_a_channel_that_is_not_there_is_refused(made: Store) -> None:
    with pytest.raises(InvalidSpec, match=r"channel must lie in 0\.\.2, got 3"):
        samples.page(made, {**DEFAULTS, "channel": 3})


Tenant = tuple[Served, list[str]]


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """A service asked with a token for the first of two stores, and the keys of both."""
    root, folder = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("tokens")
    keys = [make_store(root, make_spec(count)).name for count in (5, 6)]
    tokens = folder / "tokens"
    token = make_token(tokens, "--store", keys[0])
    with serving(root, folder, "--tokens", str(tokens), token=token) as service:
        yield service, keys


def test_a_token_sees_the_samples_of_its_stores_only(tenant: Tenant) -> None:
    served, (mine, other) = tenant
    for path in ("overview", "samples", "samples/0"):
        assert served.ask(f"/v1/stores/{mine}/{path}").status == 200
        hidden = served.ask(f"/v1/stores/{other}/{path}")
        absent = served.ask(f"/v1/stores/{'0' * 64}/{path}")
        assert (hidden.status, hidden.body) == (absent.status, absent.body) == (404, absent.body)
        bare = served.ask(f"/v1/stores/{mine}/{path}", headers={"Authorization": ""})
        assert bare.status == 401


def test_wrong_questions_get_a_sentence(tenant: Tenant) -> None:
    served, (key, _) = tenant
    answer = served.ask(f"/v1/stores/{key}/samples?channel=7")
    assert (answer.status, answer.json) == (400, {"error": "channel must lie in 0..2, got 7"})
    assert served.ask(f"/v1/stores/{key}/samples?limit=x").status == 400
    assert served.ask(f"/v1/stores/{key}/samples/5").status == 404
    assert served.ask(f"/v1/stores/{key}/samples/{'9' * 30}").status == 404
    assert served.ask(f"/v1/stores/{key}/samples/{'9' * 5000}").status == 404
    assert served.ask(f"/v1/stores/{key}/samples/-1").status == 404
    assert served.ask(f"/v1/stores/{key}/overview", "POST", body=b"{}").status in (405, 415)


def test_the_page_learns_what_its_reader_may(tenant: Tenant) -> None:
    told = tenant[0].ask("/v1/access").json
    assert told == {
        "name": "alice",
        "may": ["read"],
        "tokens": True,
        "builds": False,
        "sources": [],
        "recipes": [],
    }


async def asked_of(answers_: list[Answer], room: Room) -> list[list[int]]:
    """The statuses, and bytes handed over, of answers whose readers take none but the first piece
    until all have been asked for."""
    taken: list[list[int]] = [[] for _ in answers_]
    go_on = asyncio.Event()

    async def ask(number: int) -> None:
        async def send(message: Message) -> None:
            if sum(taken[number][1:]):
                await go_on.wait()
            taken[number].append(message.get("status", len(message.get("body", b""))))

        await answers_[number]({"type": "http", ROOM: room}, None, send)  # type: ignore[arg-type]

    asking = [asyncio.ensure_future(ask(number)) for number in range(len(answers_))]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*asking)
    return taken


def test_answers_of_slow_readers_hold_no_more_than_there_is_room_for() -> None:
    size = 3 * PIECE + 1
    room = Room(2 * size)
    large = [Answer(b"x" * size) for _ in range(3)]
    first, second, third, small = asyncio.run(asked_of([*large, Answer(b"y" * PIECE)], room))
    assert first == second == [200, PIECE, PIECE, PIECE, 1, 0]
    assert third[0] == 503
    assert small == [200, PIECE]
    assert room.held == 0


def test_a_reader_that_goes_gives_its_room_back() -> None:
    async def gone(message: Message) -> None:
        raise ConnectionError("gone")

    room, answer = Room(4 * PIECE), Answer(b"x" * 4 * PIECE)
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(answer({"type": "http", ROOM: room}, None, gone))  # type: ignore[arg-type]
    assert room.held == 0
