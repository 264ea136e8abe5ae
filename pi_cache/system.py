"""The calls to the operating system that files are made, read and removed with."""

from __future__ import annotations

import os


class System:
    """The calls to the operating system, in one object so that tests can make them fail."""

    open = staticmethod(os.open)
    read = staticmethod(os.read)
    pread = staticmethod(os.pread)
    preadv = staticmethod(os.preadv)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    close = staticmethod(os.close)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    rename = staticmethod(os.rename)
    stat = staticmethod(os.stat)
    utime = staticmethod(os.utime)
    fstat = staticmethod(os.fstat)
    listdir = staticmethod(os.listdir)
    statvfs = staticmethod(os.statvfs)

    # Names in an open folder: no folder on the way can be exchanged for a link meanwhile.

    @staticmethod
    def open_in(folder: int, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)

    @staticmethod
    def stat_in(folder: int, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    @staticmethod
    def unlink_in(folder: int, name: str) -> None:
        os.unlink(name, dir_fd=folder)

    @staticmethod
    def rmdir_in(folder: int, name: str) -> None:
        os.rmdir(name, dir_fd=folder)

    @staticmethod
    def rename_in(folder: int, name: str, other: int, new: str) -> None:
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=other)
