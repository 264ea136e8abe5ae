"""Vietoris-Rips H0 and H1, exactly, by a sweep over the edges and their lunes.

Order the edges totally, by length and then by their ends (`pipeline.kernels.edges`). The flag
complex of the first edges grows by one edge e = (x, y) at a time, and with it by the cone over e
and the flag complex of its lune, the points joined to both ends by earlier edges:

    L(e) = {z : (x, z) and (y, z) precede e}.

So what changes in homology is the reduced homology of the lune, two dimensions up
(`pipeline.kernels.lunes`):

    L(e) empty          e joins two components (a death in H0), or begins a loop (a birth in H1);
    L(e) of c pieces    nothing is born; for a point z_k of each piece the cycles x, z_1, y, z_k,
                        k = 2..c, are boundaries from now on: relations among the loops, which may
                        end one each (`pipeline.kernels.loops`);
    L(e) connected      nothing happens.

An edge longer than the enclosing radius min_x max_y |x - y| changes nothing, since the complex is
a cone by then. Most often all is over much earlier, when no loop is alive and no longer edge has an
empty lune (`pipeline.kernels.horizon`); so edges are collected and sorted a batch at a time, each
half as large again as the last one.

A length is a float32; of clouds it is the square, summed in float64, that is rounded
(`pipeline.kernels.lengths`). Rounding is monotone: all that follows from the sums is exact.

Reference: Koyama, Memoli, Robins and Turner, Faster computation of degree-1 persistent homology
using the reduced Vietoris-Rips filtration, arXiv 2307.16333.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pipeline.kernels.bits import words_of
from pipeline.kernels.edges import collect, quantile, sort
from pipeline.kernels.horizon import NEIGHBOURS, Near, complete_near, find_near, longest_bare
from pipeline.kernels.jit import compiled, inlined
from pipeline.kernels.lengths import (
    PLAIN,
    differ_though_small,
    enclosing_and_small,
    exponent_of,
    exponent_of_cloud,
    fill_lengths,
    fill_rounded,
    fill_squares,
    last_key,
    length_of,
    merge_repeated,
    scaled_cloud,
)
from pipeline.kernels.loops import MOST_BYTES, NEVER, Loops, make_loops, more_loops
from pipeline.kernels.lunes import (
    ALIVE,
    LACK,
    LOOP,
    LOOPS,
    MERGES,
    Graph,
    Scratch,
    clear,
    enter,
    make_scratch,
)

MOST_POINTS = 8192
"""Of one cloud: its tables take about 6 n**2 bytes."""
FIRST_EDGES = 28.0
FEWEST_EDGES = 8.0
"""Edges a point in the first batch: of the first cloud, and of later ones, which learn."""
SPARE = 1.2
"""Edges that are collected for a cloud, by those that entered for the one before."""
GROWTH = 1.5
"""Edges up to the end of a batch, by those up to the end of the one before."""


STOPPED, TOO_MANY_LOOPS = -1, -2
"""What a sweep returns that did not come to its end."""


class Stopped(Exception):
    """Raised when a computation was told to give up. item: the cloud it was at."""

    def __init__(self, item: int) -> None:
        super().__init__(f"stopped at cloud {item}")
        self.item = item


class TooManyLoops(Exception):
    """Raised when loops and their relations would take over 2 GiB. item: the cloud."""

    def __init__(self, item: int) -> None:
        super().__init__(f"the loops of cloud {item} would take over {MOST_BYTES >> 30} GiB")
        self.item = item


def rips_h01(
    points: np.ndarray,
    starts: np.ndarray,
    *,
    longest: float = math.inf,
    watch: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean diagrams of S clouds: points (P, 2) float64 as (birth, death), offsets (2S+1,).

    points: (N, D) float64, finite; cloud s is points[starts[s]:starts[s+1]], of at most
    `MOST_POINTS` points. starts: (S+1,) int64. longest: edges up to this length enter.
    watch: (3,) int64; the number of the cloud at work is written to watch[0], -1 at the end, and
    the work is given up where watch[1] is set by another thread.

    Diagram 2s is H0 of cloud s, 2s+1 is H1. Pairs of positive persistence come in order of death
    (H0) or birth (H1), essential classes after them. Lengths are roots, in float32, of squares
    rounded to float32.

    Raises Stopped, and TooManyLoops. Memory for n points: 6.2 n**2 bytes; 16 for each edge in a
    batch, most often 5 to 20 % of the n**2 / 2 there are, and half as much again while that grows;
    and what the loops take, next to nothing but where there are tens of thousands, up to 2 GiB.
    """
    columns = np.ascontiguousarray(np.asarray(points, np.float64).T)  # (D, N)
    return _compute(columns, np.ascontiguousarray(starts, np.int64), longest, watch, squared=True)


def rips_h01_of_distances(
    distances: np.ndarray,
    starts: np.ndarray,
    *,
    longest: float = math.inf,
    watch: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `rips_h01`, for S symmetric matrices of lengths, of any metric or none.

    distances: float, finite, not negative: the matrices one after the other, flat, row by row.
    starts: (S+1,) int64, where the points of each begin. Lengths are rounded to float32.
    """
    flat = np.ascontiguousarray(distances, np.float64).reshape(1, -1)
    return _compute(flat, np.ascontiguousarray(starts, np.int64), longest, watch, squared=False)


def _compute(
    values: np.ndarray,
    starts: np.ndarray,
    longest: float,
    watch: np.ndarray | None,
    *,
    squared: bool,
) -> tuple[np.ndarray, np.ndarray]:
    if watch is None:
        watch = np.zeros(3, np.int64)
    largest = int(np.diff(starts).max(initial=0))
    if largest > MOST_POINTS:
        raise ValueError(f"a cloud of {largest} points; at most {MOST_POINTS} fit the tables")
    tables = make_tables(largest)
    points, offsets, code = _diagrams(values, starts, float(longest), squared, tables, watch)
    if code < 0:
        raise (Stopped if code == STOPPED else TooManyLoops)(int(watch[0]))
    return points, offsets


class Tables(NamedTuple):
    """Room for all pairs of the largest cloud: flat, so that smaller ones are contiguous too."""

    keys: np.ndarray
    witness: np.ndarray
    adjacent: np.ndarray


def make_tables(n: int) -> Tables:
    """Tables for clouds of at most n points."""
    words = words_of(n)
    return Tables(np.empty(n * n, np.int32), np.empty(n * n, np.int16), np.empty(n * words, "u8"))


@compiled
def _diagrams(
    values: np.ndarray,
    starts: np.ndarray,
    longest: float,
    squared: bool,
    tables: Tables,
    watch: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Diagrams of all clouds, their ends, and 0; or a code, and watch[0] says at which cloud."""
    clouds = len(starts) - 1
    points = np.empty((2 * starts[clouds] + 64, 2))
    offsets = np.zeros(2 * clouds + 1, np.int64)
    room = (np.empty(1024, np.int64), np.empty(1024, np.int64))
    loops = make_loops(1024, 4096)
    batch = FIRST_EDGES
    begin = starts[0] if squared else 0
    for s in range(clouds):
        watch[0] = s
        n = starts[s + 1] - starts[s]
        if n == 0:
            offsets[2 * s + 1] = offsets[2 * s]
            offsets[2 * s + 2] = offsets[2 * s]
            continue
        size = n if squared else n * n
        cloud = values[:, begin : begin + size]
        begin += size
        m, exponent, roots, last = _fill(cloud, longest, squared, n, tables, watch)
        if watch[1]:  # keys are not all written then
            return points, offsets, STOPPED
        graph, scratch, near = _views(m, tables)
        clear(graph)
        loops.used[0] = 0
        loops, room, entered = _sweep(graph, loops, room, scratch, near, batch, last, watch)
        if entered < 0:
            return points, offsets, entered
        if m > 1:
            batch = min(max(SPARE * entered / m, FEWEST_EDGES), m / 2)
        points = _with_room(points, offsets[2 * s] + m + graph.counts[LOOPS])
        offsets[2 * s + 1] = _write_h0(graph, exponent, roots, points, offsets[2 * s])
        offsets[2 * s + 2] = _write_h1(graph, loops, exponent, roots, points, offsets[2 * s + 1])
    watch[0] = -1
    return points[: offsets[-1]], offsets, 0


@inlined
def _fill(
    cloud: np.ndarray, longest: float, squared: bool, n: int, tables: Tables, watch: np.ndarray
) -> tuple[int, int, bool, int]:
    """Fills the table of keys: number of distinct points, exponent, whether keys stand for squares,
    and the last key that matters. cloud: (D, n), or a matrix (1, n * n)."""
    keys = tables.keys[: n * n].reshape(n, n)
    roots = squared
    if squared:
        exponent = exponent_of_cloud(cloud)
        scaled = scaled_cloud(cloud, exponent)
        fill_squares(scaled, keys, watch)
        enclosing, small = enclosing_and_small(keys)
        if small and differ_though_small(cloud, keys):
            fill_lengths(scaled, keys, watch)
            enclosing, small = enclosing_and_small(keys)
            roots = False
    else:
        exponent = exponent_of(cloud.max(), PLAIN)
        fill_rounded(cloud[0], exponent, keys)
        enclosing, small = enclosing_and_small(keys)
    m = merge_repeated(keys, watch) if small else n
    return m, exponent, roots, last_key(longest, enclosing, exponent, roots)


@inlined
def _sweep(
    graph: Graph,
    loops: Loops,
    room: tuple[np.ndarray, np.ndarray],
    scratch: Scratch,
    near: Near,
    batch: float,
    last: int,
    watch: np.ndarray,
) -> tuple[Loops, tuple[np.ndarray, np.ndarray], int]:
    """Let edges of key <= last enter until nothing can happen any more.

    batch: edges a point to begin with. Loops and room come back, larger where it took that, and
    the number of edges that entered, or a code.
    """
    keys = graph.keys
    counts = graph.counts
    n = len(keys)
    wanted = batch * n
    low: Any = np.int64(-1)  # a plain constant would be compiled for once more
    high = quantile(keys, wanted, last)
    horizon = last
    entered = 0
    while low < last:
        count = collect(keys, low, high, room[0])
        while count < 0:
            larger = min(2 * len(room[0]), n * (n - 1) // 2 + n)
            room = (np.empty(larger, np.int64), np.empty(larger, np.int64))
            count = collect(keys, low, high, room[0])
        edges = sort(room[0], room[1], count)
        if low < 0 and count > 0:
            settled = edges[count // 2] >> 32
            find_near(edges, count, settled, near)
            complete_near(keys, near)
            horizon = max(longest_bare(keys, settled, last, near, watch), settled)
        done: Any = np.int64(0)
        while True:
            done = enter(edges, done, count, horizon, near.of, graph, loops, scratch, watch)
            if done < 0:
                return loops, room, STOPPED
            if counts[LACK] == 0:
                break
            most = len(loops.births) * (2 if counts[LACK] == LOOP else 1)
            words = len(loops.relations) * (1 if counts[LACK] == LOOP else 2)
            if 32 * most + 8 * words > MOST_BYTES:
                return loops, room, TOO_MANY_LOOPS
            loops = more_loops(loops, most, words)
        entered += done
        if done < count:
            break
        if counts[ALIVE] == 0 and horizon <= high:
            break
        wanted *= GROWTH
        low = high
        high = min(max(quantile(keys, wanted, last), horizon, low + 1), last)
    return loops, room, entered


@inlined
def _views(n: int, tables: Tables) -> tuple[Graph, Scratch, Near]:
    """The tables for a cloud of n points, and room to work in."""
    words = words_of(n)
    graph = Graph(
        tables.keys[: n * n].reshape(n, n),
        tables.adjacent[: n * words].reshape(n, words),
        tables.witness[: n * n].reshape(n, n),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.zeros(4, np.int64),
    )
    scratch = make_scratch(n, words)
    near = Near(np.zeros((n, NEIGHBOURS), np.int64), np.zeros(n, np.int64), np.empty(n, np.int32))
    return graph, scratch, near


@inlined
def _with_room(points: np.ndarray, needed: int) -> np.ndarray:
    """The points, in an array for at least so many."""
    if needed <= len(points):
        return points
    larger = np.empty((needed + needed // 2, 2))
    for p in range(len(points)):
        larger[p, 0] = points[p, 0]
        larger[p, 1] = points[p, 1]
    return larger


@inlined
def _write_h0(graph: Graph, exponent: int, roots: bool, points: np.ndarray, place: int) -> int:
    """Writes the diagram of components from that place on; its end."""
    components = len(graph.keys) - graph.counts[MERGES]
    for key in graph.merges[: graph.counts[MERGES]]:
        points[place, 0] = 0.0
        points[place, 1] = length_of(key, exponent, roots)
        place += points[place, 1] > 0
    for _ in range(components):
        points[place, 0] = 0.0
        points[place, 1] = np.inf
        place += 1
    return place


@inlined
def _write_h1(
    graph: Graph, loops: Loops, exponent: int, roots: bool, points: np.ndarray, place: int
) -> int:
    """Writes the diagram of loops from that place on; its end."""
    count = graph.counts[LOOPS]
    for q in range(count):
        if loops.deaths[q] != NEVER:
            points[place, 0] = length_of(loops.births[q] >> 32, exponent, roots)
            points[place, 1] = length_of(loops.deaths[q], exponent, roots)
            place += points[place, 1] > points[place, 0]
    for q in range(count):
        if loops.deaths[q] == NEVER:
            points[place, 0] = length_of(loops.births[q] >> 32, exponent, roots)
            points[place, 1] = np.inf
            place += 1
    return place
