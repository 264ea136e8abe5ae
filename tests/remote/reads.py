"""Read a store of a bucket here, in a forked process and in a new one; a program of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback

import numpy as np

from pi_cache import Store, open_store


def check(store: Store, path: str, name: str) -> None:
    """Say the name when the images are those of the local store."""
    assert np.array_equal(store.read_all("images"), open_store(path).read_all("images"))
    print(name, flush=True)


def in_a_fork(store: Store, path: str) -> None:
    """With the store as it is, and with one that was sent there."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    try:
        check(pickle.loads(pickle.dumps(store)), path, "sent")
        check(store, path, "fork")
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(address: str, path: str) -> None:
    store = open_store(address)
    in_a_fork(store, path)
    check(store, path, "here")
    script = f"from tests.remote.reads import *; check(pickle.loads({pickle.dumps(store)!r}),"
    subprocess.run([sys.executable, "-c", f"{script} {path!r}, 'new')"], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
