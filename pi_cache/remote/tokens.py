"""The token that a service asks for: given, from the environment, or from a file by host.

A token is sent to the host that was asked for and to no other: redirects are not followed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import platformdirs

from pi_cache import files
from pi_cache.errors import AccessRefused, InvalidSpec
from pi_cache.remote.address import INSECURE, Address

VARIABLE = "PI_CACHE_TOKEN"
FILE_VARIABLE = "PI_CACHE_TOKEN_FILE"
PLAIN = re.compile(r"[\x21-\x7e]+")
"""What a header can carry: a line break in a token would begin a header of its own."""
LARGEST = 1 << 20


def token_for(address: Address, given: str | None = None) -> str | None:
    """The token for a service: `given`, else $PI_CACHE_TOKEN, else that of its host in the file.

    Raises InvalidSpec for what is no token, AccessRefused where others may read the file or the
    token would travel in the clear.
    """
    if address.scheme == "s3":  # whose credentials are those of AWS_*
        return None
    token = given or os.environ.get(VARIABLE) or _from_file(token_file(), address.host)
    if token is None:
        return None
    if not PLAIN.fullmatch(token):
        raise InvalidSpec("a token is one word of plain characters; copy it again")
    if not address.is_private:
        raise AccessRefused(
            f"{address}: http would send the token where everybody on the way can read it; use"
            f" https, or set {INSECURE}=1 for a network that you trust"
        )
    return token


def token_file() -> Path:
    """The file of tokens, $PI_CACHE_TOKEN_FILE or the user's; a line `HOST[:PORT] TOKEN` each."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else platformdirs.user_config_path("pi-cache") / "tokens"


def _from_file(place: Path, host: str) -> str | None:
    """The token of a host, None where the file names none."""
    try:
        status = files._call("stat", place, place)
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AccessRefused(f"{place}: others may read these tokens; run chmod 600 {place}")
        text = files.read_bytes(place, LARGEST).decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InvalidSpec(f"{place}: is no text; give a line HOST TOKEN for each host") from None
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].lower() == host:
            return words[1]
    return None
