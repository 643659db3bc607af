# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part of the lab shares: its error, its places on disk, its locks, and waiting."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LAB_NICS = 3  # network cards for segments that every node has; a snapshot fixes the hardware of all nodes


class LabError(Exception):
    """Something the user can act on; its text is all that is shown."""


def cache_directory() -> Path:
    """Where images and snapshots are kept between runs (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "l4lb-ipvs"


def runtime_directory() -> Path:
    """The directory that holds a directory for each running lab; the caller may have to create it.

    It is always below /tmp, whatever TMPDIR and XDG_RUNTIME_DIR say: the path of a unix socket has 107 bytes
    (unix(7)), the overlays need space that /run/user does not have, and every command must find the same lab.
    """
    return Path(f"/tmp/l4lb-lab-{os.getuid()}")


def make_private(directory: Path) -> None:
    """Create *directory*, and refuse one that somebody else prepared (/tmp is open to everybody)."""
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise LabError(f"{directory} is not a private directory of this user: remove it and try again")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of *directory*, creating it where it is missing.

    The lock is on the directory itself (flock(2)): no lock file is left behind and the kernel releases it when its
    holder dies, however it dies.
    """
    while True:
        for level in (*reversed(directory.parents), directory):
            level.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # the previous holder may have removed the directory that this lock is on
        if directory.exists() and os.path.samestat(os.fstat(descriptor), directory.stat()):
            break
        os.close(descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str, interval: float = 0.02) -> None:
    """Wait until *condition* holds; raise LabError with the text *otherwise* after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(otherwise)
        time.sleep(interval)
