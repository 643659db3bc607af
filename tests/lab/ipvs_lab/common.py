# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part of the lab shares: its error, its places on disk, its locks, and waiting."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How often one who waits learns that it is the host that is slow.
REPORT_SECONDS = 30.0
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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def waited(pid: int) -> float:
    """Seconds for which the process was ready to run and had no processor: those of the thread that has most of them
    (schedstat, Documentation/scheduler/sched-stats.rst of the kernel). 0 where the kernel does not count them.
    """
    most = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, IndexError):  # a thread that has ended
            most = max(most, int(path.read_text().split()[1]))
    return most / 1e9


class Patience:
    """Waits for a process for as many *seconds* as it can run: on a busy host that takes longer, and is reported.

    :param pid: The process; without one all seconds count.
    """

    def __init__(self, pid: int | None, seconds: float, name: str = "") -> None:
        self._pid, self._seconds, self._name = pid, seconds, name
        self._begin = self._reported = time.monotonic()
        self._before = self._waited()

    def _waited(self) -> float:
        return waited(self._pid) if self._pid else 0.0

    def left(self) -> float:
        """How many of the seconds are left; not above 0 where it is time to give up."""
        now = time.monotonic()
        # one that has ended has no such time any more
        idle = max(0.0, self._waited() - self._before)
        left = self._seconds - (now - self._begin - idle)
        if left > 0 and now - self._reported >= REPORT_SECONDS and self.excuse():
            self._reported = now
            say(f"{self._name}: still waiting{self.excuse()}")
        return left

    def excuse(self) -> str:
        """What to add to a message where the host let the process wait for half of the time or more."""
        total, idle = time.monotonic() - self._begin, self._waited() - self._before
        if idle < total / 2:
            return ""
        host = f"this host is busy, load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} processors"
        return f" (it could not run in {idle:.1f} of {total:.1f} s: {host})"


def wait_for(
    condition: Callable[[], bool], seconds: float, otherwise: str, interval: float = 0.02, pid: int | None = None
) -> None:
    """Wait until *condition* holds; raise LabError with the text *otherwise* after *seconds*. Those in which the
    process *pid* could not run do not count.
    """
    patience = Patience(pid, seconds, otherwise)
    while not condition():
        if patience.left() <= 0:
            raise LabError(f"{otherwise}{patience.excuse()}")
        time.sleep(interval)
