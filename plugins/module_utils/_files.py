# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The one way to read a file of a node: a regular one, of a size that can be held. Others may choose what a path leads
to, and opening a device acts (a watchdog starts), opening a FIFO waits, and reading some files never ends.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import IO

#: Bytes of a file. The largest tables, with 250,000 servers, are a quarter of it.
MOST = 1 << 27


class NotRegular(OSError):
    """A device, a FIFO or a socket is in the place of the file."""


def opened(path: str, encoding: str = "utf-8", errors: str = "strict") -> IO[str]:
    """The regular file at ``path``, open for reading; what else is there is left alone.

    :raises OSError: it cannot be opened. :raises NotRegular: it is no regular file.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)  # opens no device, and stays with this very file
    try:
        mode = os.fstat(place).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise NotRegular(errno.EINVAL, "not a regular file", path)
        # without O_NONBLOCK, one who holds a lease on the file (fcntl(2)) would make this wait
        descriptor = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        return open(descriptor, encoding=encoding, errors=errors)
    except BaseException:
        os.close(descriptor)
        raise


def read(path: str, most: int = MOST, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of the file, which has ``most`` bytes at most.

    :raises OSError: it cannot be read, is no regular file, or is larger. :raises ValueError: it is no such text.
    """
    parts: list[str] = []
    with opened(path, encoding, errors) as file:
        size = os.fstat(file.fileno()).st_size  # 0 in /proc, whatever is read
        while size <= most:
            # the kernel makes room for all that is asked for, and refuses too much of it (proc_sys_call_handler)
            parts.append(file.read(1 << 16))
            if not parts[-1]:
                return "".join(parts)
            size = max(size, sum(map(len, parts)))
    raise OSError(errno.EFBIG, f"larger than {most} bytes", path)


def content(path: str, most: int = MOST) -> str:
    """The text of the file, "" where it cannot be read: processes end while they are looked at."""
    try:
        return read(path, most, errors="replace")
    except OSError:
        return ""
