"""`pipeline delays`, and rules in place of numbers where stores are planned and built."""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache import catalogue
from pi_cache.comparison import compare
from pi_cache.errors import InvalidSpec, SourceError
from pi_cache.reader import open_store
from pipeline.delays.choice import Choices
from pipeline.delays.embedding import (
    HIGHEST_DIMENSION,
    LONGEST_DELAY,
    Chosen,
    Embedding,
    Limits,
    find_embedding,
)
from pipeline.delays.figure import draw_embedding
from pipeline.delays.rules import THRESHOLD
from pipeline.delays.told import document_of, table_lines, warning_lines
from pipeline.delays.training import EVERYTHING, WANTED, training_part
from pipeline.sources import Source, open_source
from tests.pipeline.test_cli import command_line, run, run_json
from tests.shared import shared_data

RULES = ["--embedding-delay", "quarter-period", "--embedding-dimension", "false-nearest-neighbours"]
RIPS = ["--filtration", "rips", "--birth-range", "0,2", "--persistence-range", "0,2"]


def noisy_sines(period: float, count: int, samples: int = 160) -> np.ndarray:
    """Windows (n, T, 2); the second channel is slower by a half."""
    rng = np.random.default_rng(round(period))
    time = np.arange(samples)[:, None] / (period * np.array([1.0, 1.5]))
    phases = rng.uniform(0, 6, (count, 1, 1))
    return np.sin(2 * np.pi * time + phases) + 0.02 * rng.normal(size=(count, samples, 2))


@pytest.fixture
def signals(tmp_path: Path) -> str:
    """Training windows of period 20 and 30, and test windows of period 60 and 90."""
    np.savez(
        tmp_path / "signals.npz",
        data=np.concatenate([noisy_sines(20, 12), noisy_sines(60, 8)]),
        splits=np.array(["train"] * 12 + ["test"] * 8),
    )
    return f"array:{tmp_path / 'signals.npz'}"


def source_of(signals: str, **options: Any) -> Source:
    return open_source(signals, sample="signal", **options)


def test_the_training_part_alone_is_looked_at(signals: str) -> None:
    part = training_part(source_of(signals))
    assert (part.name, part.of, part.everything) == ("split train", 12, False)
    found = find_embedding(part, "quarter-period", 2, Limits.of(part))
    choices = found.delay.choices
    assert choices is not None
    assert set(choices.numbers[:, 0]) == {5} and set(choices.numbers[:, 1]) <= {7, 8}
    assert found.delay.number in (5, 6, 7)


def test_the_test_part_is_refused(signals: str) -> None:
    with pytest.raises(InvalidSpec, match="not chosen on split 'test'"):
        training_part(source_of(signals, split="test"))


def test_windows_are_spread_over_the_part(signals: str) -> None:
    data = source_of(signals)
    few = training_part(data, wanted=3).windows
    for window, place in zip(few, (0, 4, 8), strict=True):
        np.testing.assert_array_equal(window, data.reader.read(place))
    assert len(training_part(data, wanted=99).windows) == 12
    one = training_part(data, channels=[data.channels[1]])
    assert one.windows[0].shape == (160, 1)


def test_the_part_of_a_fitted_scale_is_the_training_part(signals: str) -> None:
    data = source_of(signals)
    people = ["A"] * 5 + ["B"] * 9 + ["C"] * 6
    data = replace(data, splits=(), groups=people, options={"fit_on": "subjects:A,C"})
    part = training_part(data)
    assert (part.name, part.of) == ("subjects A,C", 11)
    everything = training_part(replace(data, options={}))
    assert (everything.name, everything.of) == (EVERYTHING, 20)
    assert "no training part is known" in everything.lines()[1]


def test_bad_windows_are_left_out_and_counted(tmp_path: Path) -> None:
    data = noisy_sines(20, 6)
    data[1, 3, 0] = np.nan
    data[4, :, 1] = 1.0
    np.save(tmp_path / "x.npy", data)
    part = training_part(source_of(f"array:{tmp_path / 'x.npy'}"))
    assert part.unreadable == 1 and len(part.windows) == 5
    found = find_embedding(part, "autocorrelation", 2, Limits.of(part))
    assert "1 of 10 channels of windows are constant" in " ".join(warning_lines(found))
    np.save(tmp_path / "none.npy", data[1:2])
    with pytest.raises(SourceError, match="none of 1 windows of the whole source can be used"):
        training_part(source_of(f"array:{tmp_path / 'none.npy'}"))


def test_windows_of_different_lengths() -> None:
    data = source_of_lengths([400, 300, 200, 8])
    part = training_part(data)
    assert part.length == 250
    found = find_embedding(part, "quarter-period", "false-nearest-neighbours", Limits.of(part))
    assert found.delay.number == 5 and found.dimension.number in (2, 3)
    assert found.delay.choices is not None
    assert np.isnan(found.delay.choices.numbers[3]).all()


def source_of_lengths(lengths: list[int]) -> Source:
    """Signals of period 20 of different lengths, read as a reader of such gives them."""
    signals = [noisy_sines(20, 1, samples)[0, :, :1] for samples in lengths]
    return Source(
        kind="array",
        location="memory",
        sample="signal",
        shape=(None, 1),
        channels=("x",),
        dtype=np.dtype(float),
        maximum=None,
        ids=[str(k) for k in range(len(signals))],
        labels=np.zeros(len(signals)),
        reader=Lengths(signals),
    )


class Lengths:
    """A reader of arrays of different shapes."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays

    def read(self, position: int) -> np.ndarray:
        return self.arrays[position]

    def read_together(self) -> None:
        return None

    def slice(self, start: int, stop: int) -> Lengths:
        return Lengths(self.arrays[start:stop])

    def digests(self) -> list[bytes]:
        return [array.tobytes() for array in self.arrays]


def test_the_command_prints_a_table_and_the_options(signals: str) -> None:
    words = ["pipeline", "delays", signals, "--sample", "signal", "--delay-rule", "quarter-period"]
    result = run(words)
    assert result.exit_code == 0, result.output
    *table, last = result.stdout.splitlines()
    assert [line.split()[0] for line in table] == ["channel", "channel0", "channel1", "all"]
    assert re.fullmatch(
        r"options +--filtration rips --embedding-delay [567] --embedding-dimension \d", last
    )
    assert "12 of the 12 windows of split train are looked at" in result.stderr
    document = run_json([*words, "--json"])
    assert document["options"] in last
    assert document["channels"]["channel0"]["delay"]["median"] == 5
    curve = document["channels"]["channel0"]["curves"]["delay"]
    assert curve["tried"] == list(range(1, 41)) and len(curve["median"]) == 40
    assert document["part"] == "split train" and document["rate"] is None


def test_one_channel_and_a_picture_that_is_the_same_each_time(signals: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = []
    for name in ("one.png", "two.png"):
        words = ["--sample", "signal", "--channels", "channel1", "--png", str(tmp_path / name)]
        assert run(["pipeline", "delays", signals, *words]).exit_code == 0
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(b"\x89PNG") and len(drawn[0]) > 10_000


def refusal(words: list[str]) -> str:
    """What a command line says that is misuse, or that finds nothing."""
    try:
        result = run(words)
    except (InvalidSpec, SourceError) as error:
        return str(error)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--channels", "x"], "no channel x; there are channel0, channel1"),
        (["--split", "test"], "not chosen on split 'test'"),
        (["--like", "3f2a"], "both name samples: give one of the two"),
        (["--dimension-rule", "giotto"], "give giotto for both"),
        (["--delay-rule", "autocorrelation", "--max-delay", "2"], "have none up to 2"),
        (["--delay-rule", "half-period"], "Invalid value for '--delay-rule'"),
    ],
)
def test_what_cannot_be_chosen(signals: str, words: list[str], message: str) -> None:
    assert message in refusal(["pipeline", "delays", signals, "--sample", "signal", *words])


def test_no_options_are_printed_where_no_number_was_found(signals: str) -> None:
    words = ["--delay-rule", "autocorrelation", "--max-delay", "2"]
    done = command_line("pipeline", "delays", signals, "--sample", "signal", *words)
    assert done.returncode == 1, done.stderr
    assert "no delay was found" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout.startswith("channel") and "options" not in done.stdout


def test_channels_are_named_once(signals: str) -> None:
    words = ["pipeline", "delays", signals, "--sample", "signal", "--delay-rule", "quarter-period"]
    for given, expected in (("channel1, channel1", ["channel1"]), ("", ["channel0", "channel1"])):
        table = run([*words, "--channels", given]).stdout.splitlines()
        assert [line.split()[0] for line in table] == ["channel", *expected, "all", "options"]


def test_no_more_is_tried_than_a_window_can_tell(signals: str) -> None:
    part = training_part(source_of(signals))
    assert Limits.of(part).longest == 40
    assert Limits.of(part, 10**9, highest=10**9) == Limits(longest=159, highest=159)


def test_a_delay_that_is_too_long_is_named(signals: str) -> None:
    part = training_part(source_of(signals))
    found = find_embedding(part, 150, "false-nearest-neighbours", Limits.of(part))
    with pytest.raises(SourceError, match=r"too short for a delay of 150: .*has 160 samples"):
        found.numbers()


def test_seconds_are_told_where_all_windows_have_one_rate(signals: str) -> None:
    data = source_of(signals)
    for rates, expected in ([50] * 20, 50.0), ([50] * 19 + [100], None):
        ids = [f"a@{k:06d}+160@{rate}Hz" for k, rate in enumerate(rates)]
        assert training_part(replace(data, ids=ids, id_form="windows")).rate == expected
    assert training_part(replace(data, ids=ids)).rate is None, "nothing says that ids name windows"


def test_images_have_no_delay() -> None:
    with pytest.raises(
        InvalidSpec, match="delays are chosen for signals, and these samples are im"
    ):
        training_part(open_source("digits"))


def test_rules_become_numbers_and_find_the_store_of_the_numbers(
    signals: str, tmp_path: Path
) -> None:
    base = ["pipeline", "build-pis", signals, "--sample", "signal", *RIPS]
    end = ["--cache", str(tmp_path / "cache"), "--json"]
    told = run([*base, *RULES, *end])
    assert told.exit_code == 0, told.output
    assert "12 of the 12 windows of split train" in told.stderr
    assert re.search(r"embedding: delay [567], by quarter-period: quartiles 5\.\.[78]", told.stderr)
    first = json.loads(told.stdout)
    store = open_store(first["path"])
    delay, dimension = (
        store.spec.diagram.embedding_delay,
        store.spec.diagram.embedding_dimension,
    )
    record = store.attributes["embedding"]
    assert record["delay"]["number"] == delay and record["delay"]["rule"] == "quarter-period"
    assert record["dimension"]["number"] == dimension and record["part"] == "split train"
    numbers = ["--embedding-delay", str(delay), "--embedding-dimension", str(dimension)]
    again = run_json([*base, *numbers, *end])
    assert again["key"] == first["key"] and again["found"]
    shown = run(["pi-cache", "show", first["path"]]).stdout
    assert f"embedding   delay number {delay}, rule quarter-period" in shown
    other = run_json([*base, *numbers, "--cache", str(tmp_path / "other"), "--json"])
    assert "embedding" not in open_store(other["path"]).attributes
    entries = [catalogue.read_entry(Path(each["path"])) for each in (first, other)]
    compared = compare(*entries)
    assert compared.beside.keys() == {"notes.embedding"}
    assert compared.verdict == "the numbers are the same: what differs is notes"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*RULES], "applies to rips only: add --filtration rips"),
        ([*RIPS, *RULES[:2]], "--embedding-dimension is missing"),
        ([*RIPS, *RULES[2:]], "--embedding-delay is missing"),
        ([*RIPS, *RULES[2:], "--embedding-delay", "0"], "embedding_delay must be at least 1"),
        ([*RIPS, "--embedding-delay", "most"], "neither a whole number nor a rule: mutual-inf"),
        ([*RIPS, *RULES, "--split", "test"], "not chosen on split 'test'"),
    ],
)
def test_rules_that_cannot_be(signals: str, tmp_path: Path, words: list[str], message: str) -> None:
    cache = tmp_path / "cache"
    build = ["pipeline", "build-pis", signals, "--sample", "signal", "--cache", str(cache)]
    assert message in refusal([*build, *words])
    assert not cache.exists()


def test_a_rule_beside_the_number_of_a_saved_spec(signals: str, tmp_path: Path) -> None:
    cache = ["--cache", str(tmp_path / "cache"), "--json"]
    numbers = ["--embedding-delay", "3", "--embedding-dimension", "2"]
    first = run_json(
        ["pipeline", "build-pis", signals, "--sample", "signal", *RIPS, *numbers, *cache]
    )
    saved = ["--spec", str(Path(first["path"]) / "spec.json")]
    other = run_json(["pipeline", "build-pis", *saved, *RULES[:2], *cache])
    diagram = open_store(other["path"]).spec.diagram
    assert diagram.embedding_dimension == 2 and diagram.embedding_delay in (5, 6, 7)


def test_sensor_windows_from_delay_to_rips(tmp_path: Path) -> None:
    """Real windows: chosen numbers, then H0 and H1 by this project's kernel and by ripser."""
    archive = shared_data("sisfall") / "sisfall_SA01-SA10.tar.xz"
    wanted = re.compile(r".*/SA0[12]/D0[15]_SA0[12]_R01\.txt")
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            if wanted.fullmatch(member.name):
                members.extract(member, tmp_path / "data", filter="data")
            if "/SA03/" in member.name:
                break
    words = [f"sisfall:{tmp_path / 'data'}", "--limit", "4"]
    for option in ("window=1s", "step=20s", "channels=adxl345_y,itg3200_x", "resample=mean:2"):
        words += ["--source-option", option]
    words += ["--homology", "0,1", *RIPS, *RULES, "--embedding-delay", "mutual-information"]
    end = ["--cache", str(tmp_path / "cache"), "--json"]
    stores = [
        open_store(run_json(["pipeline", "build-pis", *words, "--engine", engine, *end])["path"])
        for engine in ("native", "ripser")
    ]
    assert stores[0].attributes["embedding"] == stores[1].attributes["embedding"]
    assert stores[0].spec.diagram.embedding_delay == stores[1].spec.diagram.embedding_delay
    for sample in range(4):
        for channel in range(4):
            ours, theirs = (np.sort(s.diagram(sample, channel), axis=0) for s in stores)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert any(len(stores[0].diagram(sample, 1)) for sample in range(4)), "H1"


def test_a_picture_without_curves_counts_what_was_chosen(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    part = training_part(source_of_lengths([200] * 4))
    numbers = np.array([[3.0], [5.0], [5.0], [np.nan]])
    choices = Choices(numbers, np.zeros((4, 1), bool), np.empty((4, 1, 0)), np.arange(0))
    chosen = Chosen.by("giotto", choices)
    found = Embedding(part=part, limits=Limits.of(part), delay=chosen, dimension=chosen)
    draw_embedding(found, tmp_path / "numbers.png")
    assert (tmp_path / "numbers.png").stat().st_size > 5_000
    assert document_of(found)["channels"]["x"]["curves"]["delay"] is None
    assert table_lines(found)[1].split()[:3] == ["x", "5", "3..5"]


def test_the_help_says_the_defaults_that_there_are() -> None:
    text = " ".join(run(["pipeline", "delays", "--help"]).stdout.split())
    for value in (LONGEST_DELAY, HIGHEST_DIMENSION, THRESHOLD, WANTED):
        assert re.search(rf"\[default: [^]]*\b{value}\]", text), value
