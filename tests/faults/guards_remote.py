"""Guards of what comes from other machines and goes there; see `guards`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.switch import Guard

REMOTE_TESTS = "tests/remote/test_"

REMOTE: Mapping[str, Guard] = {
    "fetched files are hashed before they have a name": Guard(
        "pi_cache.remote.fetching",
        "    if found != entry.sha256:\n",
        "    if False:\n",
        f"{REMOTE_TESTS}pull.py::test_a_server_with_wrong_bytes_gives_no_store",
    ),
    "another store at the address": Guard(
        "pi_cache.remote.reading",
        "        if now.digest != self.digest:\n",
        "        if False:\n",
        f"{REMOTE_TESTS}reading.py::test_another_store_at_the_address_is_no_mix",
    ),
    "no redirect is followed": Guard(
        "pi_cache.remote.http",
        "            redirect=False,\n            retries=False,\n",
        "            redirect=True,\n",
        f"{REMOTE_TESTS}address.py::test_no_redirect_is_followed",
    ),
    "no token comes back in a message": Guard(
        "pi_cache.remote.http",
        '            text = text.replace(self._token, "...")\n',
        "            pass\n",
        f"{REMOTE_TESTS}address.py::test_no_redirect_is_followed",
    ),
    "a server that hardly sends": Guard(
        "pi_cache.remote.http",
        "            elif time.monotonic() > until:\n",
        "            elif False:\n",
        f"{REMOTE_TESTS}address.py::test_a_server_that_hardly_sends_keeps_nobody_waiting",
    ),
    "the bound counts what others fetch": Guard(
        "pi_cache.remote.diskcache",
        "        old = self._total is None or time.monotonic() > self._count_at\n",
        "        old = self._total is None\n",
        f"{REMOTE_TESTS}reading.py::test_two_readers_keep_one_bound",
    ),
    "a full disk closes what is open": Guard(
        "pi_cache.reader",
        "        if error.errno not in {errno.EMFILE, *FULL}:\n",
        "        if error.errno != errno.EMFILE:\n",
        f"{REMOTE_TESTS}reading.py::test_a_full_disk_closes_what_is_open",
    ),
    "a token does not travel in the clear": Guard(
        "pi_cache.remote.tokens",
        "    if not address.is_private:\n",
        "    if False:\n",
        f"{REMOTE_TESTS}address.py",
    ),
    "a file of tokens is nobody else's": Guard(
        "pi_cache.remote.tokens",
        "if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):",
        "if False:",
        f"{REMOTE_TESTS}reading.py::test_a_token_travels_only_where_it_must",
    ),
    "a range of another version is refused": Guard(
        "pi_cache.remote.http",
        '            headers["If-Match"] = tag\n',
        "            pass\n",
        f"{REMOTE_TESTS}address.py::test_a_server_without_ranges_serves",
    ),
    "the cache of remote stores has a bound": Guard(
        "pi_cache.remote.diskcache",
        "        self.make_room(entry.size)\n",
        "",
        f"{REMOTE_TESTS}reading.py::test_what_is_old_goes_first",
    ),
    "nothing else goes from that folder": Guard(
        "pi_cache.remote.diskcache",
        "    return NAME.fullmatch(folder.name) is not None and files.is_folder(folder / USED)\n",
        "    return True\n",
        f"{REMOTE_TESTS}reading.py::test_no_store_of_a_cache_goes_with_what_is_old",
    ),
    "space before a pull": Guard(
        "pi_cache.remote.pulling",
        "    if check_room:\n",
        "    if False:\n",
        f"{REMOTE_TESTS}pull.py::test_space_is_checked_first",
    ),
    "another store of the key stays": Guard(
        "pi_cache.remote.pulling",
        "    if existing.digest != manifest.digest:\n",
        "    if False:\n",
        f"{REMOTE_TESTS}pull.py::test_another_store_of_the_key_stays",
    ),
    "conditional writes are tried": Guard(
        "pi_cache.remote.pushing",
        "            self._probe(single_writer)\n",
        "",
        f"{REMOTE_TESTS}push.py::test_a_server_without_conditions_needs_one_writer",
    ),
    "other bytes in a bucket": Guard(
        "pi_cache.remote.s3",
        "        if there != sha256:\n",
        "        if False:\n",
        f"{REMOTE_TESTS}push.py::test_a_server_without_conditions_needs_one_writer",
    ),
    "damaged files are not pushed": Guard(
        "pi_cache.remote.pushing",
        "        if found != entry.sha256:\n",
        "        if False:\n",
        f"{REMOTE_TESTS}push.py::test_other_bytes_are_an_error",
    ),
    "obstore in a forked process": Guard(
        "pi_cache.remote.s3",
        "        if not is_usable():\n            yield from",
        "        if False:\n            yield from",
        f"{REMOTE_TESTS}push.py::test_a_bucket_is_read_by_forked_and_new_processes",
    ),
}
