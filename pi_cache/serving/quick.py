"""Answers the plainest requests at once: a GET of a file that is known and lies in memory.

It takes half of the time that a request needs through h11, the routes and a thread. Whatever is in
any way odd goes that long way, and so does all that is refused: these answers are the same, byte
for byte, and tests compare them.

A file is never handed to `sendfile`: the system would send the pages as they are when the client
takes them, so that a file which is damaged meanwhile arrives as right.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from pi_cache.errors import CorruptStore, StorageFailed
from pi_cache.serving.access import Access
from pi_cache.serving.files import file_headers
from pi_cache.serving.gate import Note, is_known_host, with_defaults
from pi_cache.serving.ranges import Part, asked
from pi_cache.serving.sending import BLOCK, Checked, damaged
from pi_cache.serving.service import Service
from pi_cache.serving.shelf import Shelved

FIRST = re.compile(rb"GET (/stores/([0-9a-f]{64})/([A-Za-z0-9_~./-]+)) HTTP/1\.1")
LINE = re.compile(rb"([A-Za-z-]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
KNOWN = frozenset(
    b"host authorization range if-match if-none-match if-range user-agent accept accept-encoding"
    b" accept-language connection cache-control pragma referer".split()
)
"""Names of headers that say nothing of the body or the connection, but for `connection`."""
END = b"\r\n\r\n"
FRESH = 1.0
"""Seconds after which files are closed: a store that was removed holds no disk space for longer."""
MOST_OPEN = 128
TURN = 4
"""Blocks sent to one client before others have their turn."""
STATUS = {n: f"HTTP/1.1 {n} {HTTPStatus(n).phrase}\r\n".encode() for n in (200, 206)}

Headers = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """The head of a request for a file. headers: names in small letters, each once."""

    path: bytes
    key: str
    listed: str
    headers: Headers

    def values(self, name: bytes) -> list[bytes]:
        """The value of a header, in a list; an empty one where it is not there."""
        return [value for found, value in self.headers if found == name]


def parse(data: bytes, most: int) -> Head | None:
    """The head that these bytes are, from first to last; None for what is any other thing.

    most: bytes of a head.
    """
    if len(data) > most or not data.endswith(END):
        return None
    first, *lines = data[: -len(END)].split(b"\r\n")
    found = FIRST.fullmatch(first)
    if found is None:
        return None
    headers = {}
    for line in lines:
        pair = LINE.fullmatch(line)
        name = pair[1].lower() if pair else b""
        if pair is None or name not in KNOWN or name in headers:
            return None
        headers[name] = pair[2]
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive" or b"host" not in headers:
        return None
    return Head(found[1], found[2].decode(), found[3].decode(), [*headers.items()])


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: a head, and a part of a file, of which the first block lies in the buffer.

    note: what is to be logged.
    """

    head: bytes
    first: memoryview
    checked: Checked
    part: Part
    note: Note


class Quick:
    """Finds answers; one for a service, as all connections share its buffer."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self.service = service
        self.clock = clock
        self.buffer = memoryview(bytearray(BLOCK))
        self._open: dict[str, tuple[Shelved, Checked]] = {}

    def answer(self, data: bytes, address: str, defaults: Headers) -> Answer | None:
        """The answer to a request; None where it has to go the long way, and nothing is done yet.

        defaults: headers of every answer. The first block is good until the next call.
        """
        since, head = self.clock(), parse(data, self.service.limits.head)
        if head is None:
            return None
        access = self._access(head)
        shelved = self.service.shelf.at_hand(head.key)
        if access is None or shelved is None or not access.may_read(head.key):
            return None
        entry = shelved.entries.get(head.listed)
        if entry is None:
            return None
        wanted = asked(head.headers, f'"{entry.sha256}"'.encode(), entry.size, "GET")
        if wanted.status not in STATUS:
            return None
        try:
            checked = self._checked(shelved, head)
            first = None if checked is None else checked.at_hand(wanted.part, self.buffer)
        except (CorruptStore, StorageFailed):
            return None
        if checked is None or first is None or self.service.rates.wait(access.id or address):
            return None
        start = _head(wanted.status, defaults, file_headers(head.listed, entry, wanted))
        note = Note(
            address=address, method="GET", path=head.path, since=since, name=access.name,
            status=wanted.status,
        )  # fmt: skip
        return Answer(start, first, checked, wanted.part, note)

    def _checked(self, shelved: Shelved, head: Head) -> Checked | None:
        """The file, if its digest is known; one that was asked for a moment ago is still open."""
        path = head.path.decode()
        store, checked = self._open.get(path, (None, None))
        if store is shelved:
            return checked
        file = shelved.touch.known(head.listed)
        if file is None:
            return None
        if not self._open:
            asyncio.get_running_loop().call_later(FRESH, self._open.clear)
        if len(self._open) < MOST_OPEN:
            self._open[path] = shelved, (checked := Checked(file))
        return checked or Checked(file)

    def _access(self, head: Head) -> Access | None:
        """What who asks may do, if nothing has to be read for it."""
        service = self.service
        if service.tokens is None:
            known = is_known_host(head.values(b"host"), service.hosts)
            return service.everybody if known else None
        if not service.tokens.is_fresh():
            return None
        return service.access_at_hand(head.values(b"authorization"))


def _head(status: int, defaults: Headers, headers: dict[str, str]) -> bytes:
    """The head of an answer, as h11 writes it."""
    given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    lines = [b"%s: %s\r\n" % pair for pair in (*defaults, *with_defaults(given))]
    return b"".join([STATUS[status], *lines, b"\r\n"])


class Delivery:
    """Answers on their way to one client, one at a time.

    ended: called at the end of each, with whether all of it was handed over.
    """

    def __init__(
        self, quick: Quick, transport: asyncio.Transport, ended: Callable[[bool], None]
    ) -> None:
        self.quick = quick
        self.transport = transport
        self.ended = ended
        self.answer: Answer | None = None
        self._place = 0
        self._held = False
        self._loop = asyncio.get_running_loop()
        self._most = transport.get_write_buffer_limits()[1]
        tls = transport.get_extra_info("ssl_object") is not None
        self._socket = -1 if tls else transport.get_extra_info("socket").fileno()

    def start(self, answer: Answer) -> None:
        """Hand over the head and the first blocks."""
        self.answer, self._place = answer, answer.part.start
        self._write(answer, answer.head, answer.first)
        self.go_on()

    def go_on(self) -> None:
        """Hand over blocks for as long as the client takes them."""
        for _ in range(TURN):
            answer = self.answer
            if self._held or answer is None:
                return
            if self.transport.get_write_buffer_size() > self._most:
                return  # and is called again once this has been taken
            if self._place >= answer.part.stop:
                self.end(complete=True)
                return
            if not self._next(answer):
                return
        self._loop.call_soon(self.go_on)

    def _next(self, answer: Answer) -> bool:
        """Hand over one block; False where that is left to a thread, or the file has changed."""
        part = Part(self._place, answer.part.stop)
        try:
            block = answer.checked.at_hand(part, self.quick.buffer)
        except (CorruptStore, StorageFailed) as error:
            self._break(error)
            return False
        if block is not None:
            self._write(answer, b"", block)
            return True
        self._held = True
        reading = self._loop.run_in_executor(self.quick.service.readers, answer.checked.block, part)
        reading.add_done_callback(partial(self._was_read, answer))
        return False

    def _was_read(self, answer: Answer, reading: asyncio.Future[bytes]) -> None:
        self._held = False
        if self.answer is not answer or reading.cancelled():
            return
        error = reading.exception()
        if error is None:
            self._write(answer, b"", memoryview(reading.result()))
            self.go_on()
        else:
            self._break(error)

    def _write(self, answer: Answer, head: bytes, block: memoryview) -> None:
        """Hand over bytes: to the system what it takes at once, to the transport the rest."""
        self._place += len(block)
        answer.note.bytes += len(block)
        taken = 0
        if self._socket >= 0 and not self.transport.get_write_buffer_size():
            with suppress(OSError):  # the transport meets it too, and knows what to do
                taken = os.writev(self._socket, [head, block])
        if taken < len(head):
            self.transport.write(head[taken:])
        taken = max(0, taken - len(head))
        if taken < len(block):
            self.transport.write(bytes(block[taken:]))

    def _break(self, error: BaseException) -> None:
        """Send less than was announced."""
        damaged(self.quick.service, error)
        self.end(complete=False)
        self.transport.close()

    def end(self, *, complete: bool) -> None:
        """Note the answer; nothing more of it is handed over."""
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.note.complete = complete
            answer.note.write(self.quick.service, self.quick.clock())
            self.ended(complete)
