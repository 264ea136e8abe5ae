"""The bytes of a file, read by a process of its own: for one in which a library does not work.

`python -m pi_cache.remote.alone ADDRESS NAME [SIZE]` writes them to its standard output; what goes
wrong is a line of JSON on standard error. Nobody trusts them: whoever asked compares digests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from pi_cache import errors
from pi_cache.errors import PiCacheError, RemoteFailed
from pi_cache.remote.address import Address, parse_address

BLOCK = 1 << 20
KINDS: dict[str, type[Exception]] = {
    "FileNotFoundError": FileNotFoundError,
    "AccessRefused": errors.AccessRefused,
    "RemoteFailed": RemoteFailed,
}


def blocks_alone(address: Address, name: str, size: int | None) -> Iterator[bytes]:
    """As `Transport.blocks`, in a new process. Raises as it."""
    words = [str(address), name, *([] if size is None else [str(size)])]
    with subprocess.Popen(
        [sys.executable, "-m", __name__, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            while block := process.stdout.read(BLOCK):
                yield block
            said = process.stderr.read()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure(address, said, process.returncode)


def _failure(address: Address, said: bytes, status: int) -> Exception:
    text = said.decode(errors="replace").strip()
    try:
        answer = json.loads(text.rpartition("\n")[2])
        return KINDS[answer["error"]](answer["message"])
    except (LookupError, TypeError, ValueError):
        return RemoteFailed(f"{address}: reading in another process failed ({status}): {text:.300}")


def main(words: list[str]) -> int:
    """Write the bytes of the file that the command line names."""
    from pi_cache.remote.transport import transport

    address, name, *size = words
    try:
        source = transport(parse_address(address))
        for block in source.blocks(name, int(size[0]) if size else None):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    except (PiCacheError, FileNotFoundError) as error:
        message = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(message), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
