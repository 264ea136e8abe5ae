"""Every guard of the product, and how it is switched off to see that some test then fails."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.guards_remote import REMOTE
from tests.faults.switch import Guard

FAULTS, STORES = "tests/faults/test_", "tests/pi_cache/test_"
PIPELINE, SOURCES = "tests/pipeline/test_", "tests/sources/test_"
HARM = f"{FAULTS}hostile.py::test_what_was_made_to_do_harm_is_refused"


FILES: Mapping[str, Guard] = {
    "fsync of files": Guard(
        "pi_cache.files",
        '        _call("fsync", name, handle, tries=1)\n',
        "",
        f"{FAULTS}power_cut.py",
        root=True,
    ),
    "fsync of folders": Guard(
        "pi_cache.files",
        '            _call("fsync", path, handle)\n',
        "            pass\n",
        f"{FAULTS}power_cut.py",
        root=True,
    ),
    "exclusive link": Guard(
        "pi_cache.files",
        '_call("link", path, name, path)',
        '_call("rename", path, name, path)',
        f"{STORES}files.py",
    ),
    "read back after link": Guard(
        "pi_cache.files",
        "return _afresh(lambda: _holds(path, data))",
        "return failure is None",
        f"{STORES}files.py",
    ),
    "retry of what passes": Guard(
        "pi_cache.files",
        "TRANSIENT = {errno.EINTR, errno.ESTALE, errno.EAGAIN}",
        "TRANSIENT = set()",
        f"{STORES}files.py",
    ),
    "new file after a failed fsync": Guard(
        "pi_cache.files", "\nREWRITES = 2\n", "\nREWRITES = 0\n", f"{STORES}files.py"
    ),
    "short writes go on": Guard(
        "pi_cache.files", "rest = rest[written:]", "rest = rest[:0]", f"{STORES}files.py"
    ),
    "typed errors": Guard(
        "pi_cache.files",
        "raise _typed(error, call, path, *arguments) from error",
        "raise",
        f"{STORES}files.py",
    ),
    "full is told apart": Guard(
        "pi_cache.failures",
        "StorageFull if number in FULL else StorageFailed",
        "StorageFailed",
        f"{FAULTS}full_disk.py {STORES}files.py",
    ),
    "temporaries of the living stay": Guard(
        "pi_cache.files",
        "not (host == socket.gethostname() and _runs(int(process)))",
        "True",
        f"{STORES}files.py",
    ),
    "pipes and devices are no files": Guard(
        "pi_cache.files",
        "return stat.S_ISREG(mode) or stat.S_ISDIR(mode)",
        "return True",
        f"{FAULTS}hostile.py::test_what_is_no_file_stops_nobody",
    ),
    "documents have a limit": Guard(
        "pi_cache.files",
        "if (found := size(path)) > most:",
        "if (found := 0):",
        f"{FAULTS}hostile.py::test_what_is_no_file_stops_nobody",
    ),
}

READING: Mapping[str, Guard] = {
    "sizes when opening": Guard(
        "pi_cache.firsttouch",
        "            if size != entry.size:\n",
        "            if False:\n",
        f"{STORES}reader.py::test_missing_and_short_files_are_found_at_opening",
    ),
    "sha256 at first touch": Guard(
        "pi_cache.shardfile",
        "if found != self.entry.sha256:",
        "if False:",
        f"{FAULTS}bit_flips.py",
    ),
    "a file that changes while it is hashed": Guard(
        "pi_cache.shardfile", "if self.identity == before:", "if True:", f"{FAULTS}single.py"
    ),
    "what has just changed is not remembered": Guard(
        "pi_cache.checked", "time.time() - newest < SETTLED", "False", f"{STORES}checked.py"
    ),
    "marks that others can write": Guard(
        "pi_cache.checked",
        "return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)",
        "return True",
        f"{STORES}checked.py",
    ),
    "crc32c of the index": Guard(
        "pi_cache.shards",
        "if len(tail) != shard.index_bytes or google_crc32c.value(tail) != RESIDUE:",
        "if len(tail) != shard.index_bytes:",
        f"{FAULTS}bit_flips.py",
    ),
    "crc32c of chunks": Guard(
        "pi_cache.shards",
        "if len(data) <= CHECKSUM or google_crc32c.value(data) != RESIDUE:\n"
        '        raise CorruptStore("an inner chunk',
        'if False:\n        raise CorruptStore("an inner chunk',
        f"{FAULTS}bit_flips.py",
    ),
    "index inside the shard": Guard(
        "pi_cache.shardfile",
        "        if bad.any():\n",
        "        if False:\n",
        f"{STORES}reader.py::test_an_index_that_points_outside_is_refused",
    ),
    "lengths in Blosc headers": Guard(
        "pi_cache.shards",
        "if size < BLOSC_HEADER or packed != size:",
        "if False:",
        f"{STORES}shards.py",
    ),
    "offsets of diagrams": Guard(
        "pi_cache.reader",
        "if low < 0 or high > points or (np.diff(offsets, axis=1) < 0).any():",
        "if False:",
        f"{FAULTS}single.py",
    ),
    "limit of a chunk": Guard(
        "pi_cache.shards", "if self.chunk_bytes > CHUNK_LIMIT:", "if False:", f"{STORES}shards.py"
    ),
    "metadata for zarr": Guard(
        "pi_cache.store", "    if problems:\n        more", "    if False:\n        more",
        f"{STORES}zarr.py",
    ),
    "codecs of users": Guard(
        "pi_cache.arrays",
        "refused = sorted(names - SAFE_CODECS)",
        "refused = []",
        HARM,
    ),
}  # fmt: skip

DOCUMENTS: Mapping[str, Guard] = {
    "checksum of documents": Guard(
        "pi_cache.manifest",
        'whole = checksum == canonical_digest({"format_version": FORMAT_VERSION, **content})',
        "whole = version == FORMAT_VERSION",
        f"{STORES}documents.py",
    ),
    "format version": Guard(
        "pi_cache.manifest",
        "if type(version) is int and version != FORMAT_VERSION and not whole:",
        "if False:",
        f"{STORES}documents.py",
    ),
    "a name occurs once": Guard(
        "pi_cache.manifest",
        "if len(content) != len(pairs):",
        "if False:",
        f"{FAULTS}single.py",
    ),
    "paths inside the store": Guard(
        "pi_cache.manifest",
        "if not INSIDE.fullmatch(path):",
        "if False:",
        f"{STORES}documents.py",
    ),
    "a manifest agrees with itself": Guard(
        "pi_cache.manifest", "        if problems:\n", "        if False:\n",
        f"{STORES}documents.py",
    ),
    "checksum of the spec": Guard(
        "pi_cache.specs.store",
        "return checksum is None or checksum == canonical_digest(content)",
        "return True",
        f"{FAULTS}single.py",
    ),
    "key of the folder": Guard(
        "pi_cache.catalogue",
        "if is_key and path.name != key:",
        "if False:",
        f"{STORES}repair.py::test_the_store_of_another_key_is_refused",
    ),
    "roots of newer releases": Guard(
        "pi_cache.root",
        "    with suppress(CorruptStore):\n        read_record(root)",
        "    pass",
        f"{STORES}root.py",
    ),
    "fingerprint of a saved spec": Guard(
        "pipeline.request",
        "if self.fingerprint not in (None, found.fingerprint):",
        "if False:",
        f"{PIPELINE}cli.py::test_the_spec_of_a_store_builds_that_store",
    ),
}  # fmt: skip

PUBLISHED = "publish_or_replace(build, {build.path / name: body for name, body in data.items()})"
RECORDED = "build.publish(place, record.to_bytes())"

BUILDING: Mapping[str, Guard] = {
    "sha256 on resume": Guard(
        "pi_cache.ledger",
        "files.difference(path / name, *entry) is None",
        "files.exists(path / name)",
        f"{STORES}build.py",
    ),
    "records are of this shard": Guard(
        "pi_cache.ledger",
        "return found == wanted and (k == TABLE_SHARD or set(record.files) == names)",
        "return True",
        f"{STORES}build.py {STORES}repair.py",
    ),
    "no manifest while shards are missing": Guard(
        "pi_cache.ledger", "    if missing:\n", "    if False:\n", f"{STORES}build.py"
    ),
    "the record comes last": Guard(
        "pi_cache.ledger",
        f"        {PUBLISHED}\n        try:\n            {RECORDED}\n",
        f"        try:\n            {RECORDED}\n            {PUBLISHED}\n",
        f"{FAULTS}single.py",
    ),
    "all is hashed before the manifest": Guard(
        "pi_cache.ledger",
        "    records = files.in_threads(lambda k: _valid_record(build, k), numbers)\n",
        "    records = [_record(build, k) for k in numbers]\n",
        f"{FAULTS}single.py",
    ),
    "damaged files go to quarantine": Guard(
        "pi_cache.files",
        '_call("rename", path, path, aside)',
        '_call("unlink", path, path)',
        f"{STORES}files.py",
    ),
    "a record of another is put back": Guard(
        "pi_cache.ledger",
        "if aside is not None and files.read_bytes(aside) != judged:",
        "if False:",
        f"{STORES}build.py",
    ),
    "leftovers are cleared": Guard(
        "pi_cache.ledger",
        "            if path not in known and not",
        "            if False and not",
        f"{STORES}repair.py::test_leftovers_of_another_layout_go_to_quarantine",
    ),
    "arrays are checked": Guard(
        "pi_cache.ledger",
        "    _check_columns(build, k, columns)\n",
        "",
        f"{STORES}build.py",
    ),
    "free space": Guard(
        "pi_cache.keeping.space", "def check_space(root: Path, need: Need) -> None:\n",
        "def check_space(root: Path, need: Need) -> None:\n    return\n",
        f"{STORES}space.py",
    ),
}  # fmt: skip

CHECKING: Mapping[str, Guard] = {
    "verify compares digests": Guard(
        "pi_cache.files",
        'return None if found == sha256 else f"expected SHA-256 {sha256}, got {found}"',
        "return None",
        f"{FAULTS}bit_flips.py",
    ),
    "verify looks for orphans": Guard(
        "pi_cache.integrity.verification",
        "    findings += _orphans(path, manifest)\n",
        "",
        f"{FAULTS}bit_flips.py",
    ),
    "documents have the bytes that were written": Guard(
        "pi_cache.integrity.verification",
        "if not is_as_written(files.read_bytes(place)):",
        "if False:",
        f"{FAULTS}bit_flips.py",
    ),
    "records that are gone": Guard(
        "pi_cache.integrity.verification",
        '            findings.append(Finding("missing", name, "the manifest has what it says"))\n',
        "            pass\n",
        f"{STORES}integrity.py::test_a_lost_ledger_is_written_again",
    ),
    "verify looks into the arrays": Guard(
        "pi_cache.integrity.consistency",
        "def contradictions(",
        "def contradictions(*_: object) -> list[tuple[str, str]]:\n    return []\n\n\ndef _unused(",
        f"{STORES}integrity.py",
    ),
}  # fmt: skip

REBUILT = f"{PIPELINE}rebuild.py"

MENDING: Mapping[str, Guard] = {
    "what is mended has its digest": Guard(
        "pipeline.lostshard",
        "            if entry_of(data) == task.manifest.files[name]:\n",
        "            if True:\n",
        f"{REBUILT}::test_files_that_cannot_be_decoded {REBUILT}::test_a_build_mends_too"
        f" {REBUILT}::test_nothing_is_changed_by_a_source_that_has_changed",
    ),
    "samples of a repair are the same": Guard(
        "pipeline.stored",
        "    if fingerprint != store.spec.source.fingerprint:\n",
        "    if False:\n",
        f"{REBUILT}::test_nothing_is_changed_by_a_source_that_has_changed",
    ),
    "recomputed images are compared": Guard(
        "pipeline.recompute",
        "                if steps.max() <= 1:\n",
        "                if True:\n",
        f"{REBUILT}::test_recomputing_finds_a_store_that_was_forged",
    ),
    "recomputed diagrams are compared": Guard(
        "pipeline.recompute",
        'yield Difference(sample, "points", f"{name}: {_other_points(mine, theirs)}")',
        "continue",
        f"{REBUILT}::test_recomputing_finds_a_store_that_was_forged",
    ),
    "an import whose audit fails": Guard(
        "pipeline.legacy",
        "        if done.problems and not asked.keep:\n",
        "        if False:\n",
        f"{PIPELINE}legacy.py::test_what_fails_is_kept_only_by_name_and_marked",
    ),
}

REMOVAL: Mapping[str, Guard] = {
    "roots without a record": Guard(
        "pi_cache.keeping.removal", "    require_root(root)\n", "", f"{STORES}removal.py"
    ),
    "pins": Guard(
        "pi_cache.keeping.removal",
        'if pin := pins.get(target.key or ""):',
        "if pin := None:",
        f"{STORES}removal.py",
    ),
    "pins of the last moment": Guard(
        "pi_cache.keeping.removal", "if is_pinned(root, key):", "if False:", f"{STORES}removal.py"
    ),
    "young stores": Guard(
        "pi_cache.keeping.removal",
        "if unchanged < YOUNG and not young:",
        "if False:",
        f"{STORES}removal.py",
    ),
    "links are not followed": Guard(
        "pi_cache.system", "flags | os.O_NOFOLLOW", "flags", f"{STORES}removal.py"
    ),
    "links are no stores": Guard(
        "pi_cache.keeping.removal",
        'if target.what in ("absent", "link", "file"):',
        "if False:",
        f"{STORES}removal.py",
    ),
}

INPUTS: Mapping[str, Guard] = {
    "objects in npy": Guard(
        "pipeline.sources.npyfile", "    if dtype.hasobject:\n", "    if False:\n",
        HARM,
    ),
    "sizes in npy headers": Guard(
        "pipeline.sources.npyfile", "    if size != expected:\n", "    if False:\n",
        HARM,
    ),
    "npz bombs": Guard(
        "pipeline.sources.npyfile",
        "if size > LARGEST_PACKED and ratio > LARGEST_RATIO:",
        "if False:",
        HARM,
    ),
    "samples of a Zarr array": Guard(
        "pipeline.sources.arrays", "    if shape[0] > MOST_SAMPLES:\n", "    if False:\n",
        HARM,
    ),
    "long lines of text columns": Guard(
        "pipeline.sources.arrays",
        "if longest * len(lines) * LETTER > LARGEST_COLUMN:",
        "if False:",
        HARM,
    ),
    "pixels": Guard(
        "pipeline.sources.pictures", "    if height * width > LARGEST:\n", "    if False:\n",
        f"{SOURCES}pictures.py",
    ),
    "formats of pictures": Guard(
        "pipeline.sources.pictures", "formats=FORMATS", "formats=None", f"{SOURCES}pictures.py"
    ),
    "pictures that are cut": Guard(
        "pipeline.sources.pictures",
        "ImageFile.LOAD_TRUNCATED_IMAGES = False",
        "ImageFile.LOAD_TRUNCATED_IMAGES = True",
        f"{SOURCES}pictures.py",
    ),
    "names in pickles": Guard(
        "pipeline.sources.batches",
        'if f"{module}.{name}" not in stand_ins:',
        'if f"{module}.{name}" not in stand_ins:\n'
        "            return super().find_class(module, name)\n        if False:",
        f"{SOURCES}cifar.py",
    ),
    "names in archives": Guard(
        "pipeline.unpack",
        'if path.is_absolute() or ".." in path.parts or any(',
        "if False and any(",
        f"{SOURCES}fetch.py",
    ),
    "links in archives": Guard(
        "pipeline.unpack",
        "if not (info.isdir() or info.isreg()):",
        "if False:",
        f"{SOURCES}fetch.py",
    ),
    "bombs in archives": Guard(
        "pipeline.unpack",
        "if self.written > self.limits.ratio * self.archive.stat().st_size:",
        "if False:",
        f"{SOURCES}fetch.py",
    ),
    "a file that changes while it is read": Guard(
        "pipeline.sources.npyfile",
        "if stamp_of(Path(self.path)) != self.stamp:",
        "if False:",
        f"{SOURCES}arrays.py",
    ),
    "values that are not finite": Guard(
        "pipeline.sources.base",
        "finite[position] = np.isfinite(flat[position]).all()",
        "finite[position] = True",
        f"{SOURCES}base.py",
    ),
}  # fmt: skip

JOINING: Mapping[str, Guard] = {
    "leakage": Guard(
        "pi_cache.sampling.leakage", "def refuse(found: Sequence[Leak]) -> None:\n",
        "def refuse(found: Sequence[Leak]) -> None:\n    return\n",
        f"{STORES}leakage.py",
    ),
    "joins": Guard(
        "pi_cache.sampling.joins",
        "def _id_problems(",
        "def _id_problems(*_: object) -> list[str]:\n    return []\n\n\ndef _unused(",
        f"{STORES}joins.py",
    ),
    "facts of joined stores": Guard(
        "pi_cache.sampling.joins",
        "def _fact_problems(",
        "def _fact_problems(*_: object) -> list[str]:\n    return []\n\n\ndef _unused(",
        f"{STORES}joins.py",
    ),
    "samples that are not OK": Guard(
        "training.data",
        "chosen[self.store.status[chosen] == Status.OK]",
        "chosen",
        "tests/training/test_selection.py",
    ),
    "samples asked for that are not OK": Guard(
        "training.data",
        "if left and self._samples is not None and not self._is_mask:",
        "if False:",
        "tests/training/test_selection.py",
    ),
}  # fmt: skip

WORK = "tests/cluster/test_work.py::test_"

JOBS: Mapping[str, Guard] = {
    "jobs of other samples": Guard(
        "pipeline.cluster.workplan",
        "if found != self.plan.table:",
        "if False:",
        f"{WORK}other_samples_are_refused",
    ),
    "jobs of another release": Guard(
        "pipeline.cluster.workplan",
        "if spec.algorithm != current:",
        "if False:",
        f"{WORK}a_release_that_computes_other_numbers_is_refused",
    ),
    "bytes that changed while jobs ran": Guard(
        "pipeline.cluster.finishing",
        "if found != spec.source.fingerprint:",
        "if False:",
        f"{WORK}other_samples_are_refused",
    ),
    "claims of the dead": Guard(
        "pipeline.claims",
        "if path.name not in _held if ours else is_gone(match[2], int(match[3])):",
        "if False:",
        f"{WORK}a_worker_ends_with_its_element",
    ),
}

HTTP = f"{FAULTS}http.py::test_"
RANDOM = f"{HTTP}random_requests_are_answered_as_the_model_says"
MALFORMED = f"{HTTP}what_is_no_http_is_never_half_understood"
SLOW = f"{HTTP}slow_clients_are_cut_and_others_served"
SERVED_DAMAGE = f"{HTTP}damage_never_arrives_as_right"

SERVING: Mapping[str, Guard] = {
    "only what a manifest lists": Guard(
        "pi_cache.serving.files",
        "shelved.entries.get(rest[0])",
        "shelved.entries.setdefault(\n"
        "            rest[0], FileEntry((shelved.path / rest[0]).stat().st_size, '')\n        )",
        RANDOM,
    ),
    "only what a token may read": Guard(
        "pi_cache.serving.files", "not access_of(scope).may_read(key)", "False", RANDOM
    ),
    "only what a token may read, at once": Guard(
        "pi_cache.serving.quick",
        "if access is None or shelved is None or not access.may_read(head.key):",
        "if access is None or shelved is None:",
        RANDOM,
    ),
    "one answer to strangers": Guard(
        "pi_cache.serving.gate",
        "        if access is None:\n",
        "        if access is None and scope['path'] != '/':\n"
        "            return answers.missing()\n"
        "        if access is None:\n",
        RANDOM,
    ),
    "names of the host": Guard(
        "pi_cache.serving.gate",
        "if service.tokens is None and not is_known_host(",
        "if service.tokens is None and len(service.hosts) > 99 and not is_known_host(",
        RANDOM,
    ),
    "tokens expire": Guard(
        "pi_cache.serving.tokens", "agrees and token.is_live(self.now())", "agrees", RANDOM
    ),
    "secrets of tokens": Guard(
        "pi_cache.serving.tokens",
        "hmac.compare_digest(sha256, token.sha256 if token else NOBODY)",
        "True",
        RANDOM,
    ),
    "one range": Guard(
        "pi_cache.serving.ranges",
        "SINGLE.fullmatch(headers[0])",
        "SINGLE.match(headers[0])",
        RANDOM,
    ),
    "digests before sending": Guard(
        "pi_cache.serving.sending",
        "file = shelved.touch.known(listed)",
        "file = OpenFile(shelved.path / listed, shelved.entries[listed])",
        SERVED_DAMAGE,
    ),
    "changes while sending": Guard(
        "pi_cache.serving.sending",
        "if self.file._identify() != self.identity:",
        "if False:",
        SERVED_DAMAGE,
    ),
    "large heads": Guard(
        "pi_cache.serving.connections", "if _size(request) > most:", "if False:", MALFORMED
    ),
    "bodies with two lengths": Guard(
        "pi_cache.serving.connections",
        "return 400 if len(framed) > 1 or old else 0",
        "return 0",
        MALFORMED,
    ),
    "heads and bodies that never end": Guard(
        "pi_cache.serving.connections",
        "if self._receiving is not None and now - self._receiving > self.patience:",
        "if False:",
        SLOW,
    ),
    "readers that never read": Guard(
        "pi_cache.serving.connections",
        "if waiting and now - self._taken > self.patience:",
        "if False:",
        SLOW,
    ),
    "who asks on and never reads": Guard(
        "pi_cache.serving.quick",
        "if self.transport.get_write_buffer_size() > self._most:",
        "if False:",
        f"{HTTP}who_asks_on_and_never_reads_costs_no_memory",
    ),
    "room for answers of slow readers": Guard(
        "pi_cache.serving.limits",
        "return self.held + size <= self.most",
        "return True",
        "tests/serving/test_samples.py"
        "::test_answers_of_slow_readers_hold_no_more_than_there_is_room_for",
    ),
    "places of one address": Guard(
        "pi_cache.serving.limits",
        "if of_one and self._by_address[address] >= of_one:",
        "if False:",
        f"{HTTP}one_address_shuts_nobody_out",
    ),
}

MACHINE_CODE: Mapping[str, Guard] = {
    "machine code says what it is for": Guard(
        "pipeline.kernels.machinecode",
        "return data if saved == key else None",
        "return data",
        f"{PIPELINE}machinecode.py",
    ),
    "digests of machine code": Guard(
        "pipeline.kernels.machinecode",
        "if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:",
        "if False:",
        f"{PIPELINE}machinecode.py",
    ),
    "machine code by the content of kernels": Guard(
        "pipeline.kernels.machinecode",
        "        digest.update(path.read_bytes())\n",
        "        pass\n",
        f"{PIPELINE}jit.py::test_code_of_changed_kernels_is_not_found",
    ),
}

GUARDS: Mapping[str, Guard] = {
    **FILES, **READING, **DOCUMENTS, **BUILDING, **CHECKING, **MENDING, **REMOVAL, **INPUTS,
    **JOINING, **JOBS, **SERVING, **REMOTE, **MACHINE_CODE,
}  # fmt: skip
