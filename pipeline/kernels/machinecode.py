"""Files of machine code, which any number of processes write at once.

numba looks at the age of a kernel's own file only, so a kernel that calls another one of another
file would be found as it was before that one changed. Kernels are therefore kept in a folder that
is named by the content of all their files.

numba numbers the files of a kernel and keeps an index of them. Two processes that compile it at
once for different arguments may take the same number, and the index then leads one of them, and all
who come later, to code that is not theirs: wrong images, or a crash (numba's issues 4807, 10128).
Here a file is named by what its code is for, says so once more, and ends with a digest.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
)
from platformdirs import user_cache_path

DIGEST = hashlib.sha256().digest_size


@functools.cache
def cache_folder() -> Path:
    """Where machine code is kept: under $NUMBA_CACHE_DIR, or the user's cache folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    base = Path(numba.config.CACHE_DIR or user_cache_path("pi-cache"))
    return base / "kernels" / digest.hexdigest()[:16]


class Folder(_CacheLocator):  # type: ignore[misc]
    """The folder of a kernel in `cache_folder`, and no other: numba's own choices are not named by
    the content of kernels. It is made when code is kept, and else only read."""

    def __init__(self, kernel: Callable[..., Any], file: str) -> None:
        self._py_file, self._line = file, kernel.__code__.co_firstlineno
        self._path = cache_folder() / self.get_suitable_cache_subpath(file)

    @classmethod
    def from_function(cls, kernel: Callable[..., Any], file: str) -> Folder:
        return cls(kernel, file)

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> None:
        return None

    def get_disambiguator(self) -> str:
        return str(self._line)


class Code(CompileResultCacheImpl):  # type: ignore[misc]
    """What numba keeps of a kernel, in our folder."""

    _locator_classes = (Folder,)


class MachineCode(FunctionCache):  # type: ignore[misc]
    """Where numba looks for the code of a kernel, and keeps it."""

    _impl_class = Code

    def __init__(self, kernel: Callable[..., Any]) -> None:
        super().__init__(kernel)
        content = cache_folder().name  # of all kernels: nothing is stale
        stamp = content, np.__version__  # code holds pickled types, which may be NumPy's
        self._cache_file = CodeFiles(self._cache_path, self._impl.filename_base, stamp)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep code, if there is room for it: who finds none compiles."""
        with contextlib.suppress(OSError):
            super().save_overload(signature, compiled)


class CodeFiles(IndexDataCacheFile):  # type: ignore[misc]
    """The files of one kernel, by numba's keys: the types of arguments, the processor, and the
    digests of the bytecode and of what it closes over."""

    def load(self, key: Any) -> Any:
        """What was saved for a key; None where nothing was, or where it is damaged."""
        name = self._name(key)
        try:
            content = Path(self._data_path(name)).read_bytes()
            if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
                return None
            saved, data = self._load_data(name)
        except OSError:
            return None
        return data if saved == key else None

    def save(self, key: Any, data: Any) -> None:
        """Keep the code for a key, in place of what was there."""
        content = self._dump((key, data))
        with self._open_for_write(self._data_path(self._name(key))) as file:
            file.write(content + hashlib.sha256(content).digest())

    def _name(self, key: Any) -> str:
        asked = repr((self._version, self._source_stamp, key)).encode()
        return str(self._data_name(int(hashlib.sha256(asked).hexdigest()[:16], 16)))
