# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The one place that knows AnsibleModule: parameters in, result out, inside the right network namespace, under its
lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

from ansible.module_utils.basic import AnsibleModule

from ._errors import Finding, Findings, Forbidden, InvalidInput, IpvsError, Unavailable, at

NETNS_DIR = "/run/netns"
#: Locks and the record of what is ours, until the next boot.
STATE_DIR = "/run/l4lb-ipvs"
#: Characters of a parameter that the result repeats, as ansible-core does with all of them: no table of megabytes.
MOST_REPEATED = 10_000
#: Seconds a run waits for another one in the same network namespace.
LOCK_TIMEOUT = 60.0
#: The option of modules that depend on what others set up.
ASSUME_PREPARED = {"assume_prepared": {"type": "list", "elements": "str", "default": []}}
CLONE_NEWNET = 0x40000000
SO_NETNS_COOKIE = 71  # asm-generic/socket.h; Python has no name for it


class Task:
    """What a module body may know of the task it runs: its parameters and its mode, warnings, commands. ``prepared``
    names the kernel modules, interfaces and sysctls that earlier tasks of a run in check mode only planned.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._warned: set[str] = set()
        self.params: dict[str, Any] = module.params
        self.check_mode: bool = module.check_mode
        self.diff_mode: bool = module._diff
        self.prepared = frozenset(module.params.get("assume_prepared", ()) if module.check_mode else ())

    def warn(self, warning: str) -> None:
        self._module.warn(warning)

    def conclude(self, findings: Findings) -> None:
        """Tell the findings: raise :class:`InvalidInput` if there is a problem, else pass the warnings on."""
        findings.raise_problems()
        for warning in findings.listed(findings.warnings):
            if warning not in self._warned:  # a run that has to decide again finds the same again
                self._warned.add(warning)
                self.warn(warning)
        findings.warnings.clear()

    def run(self, argv: list[str], data: Optional[str] = None) -> tuple[int, str, str]:
        """Run a command without a shell -> (exit status, standard output, standard error). ``data`` goes to its
        standard input.

        :raises Unavailable: the command is not installed.
        """
        path = self._module.get_bin_path(argv[0])
        if path is None:
            raise Unavailable(f"the command {argv[0]} is not installed on this host")
        return self._module.run_command([path, *argv[1:]], data=data)  # type: ignore[no-any-return]


def run_module(
    argument_spec: Mapping[str, Any],
    body: Callable[[Task], dict[str, Any]],
    *,
    writes: bool = True,
    **options: Any,
) -> None:
    """Run ``body`` as an Ansible module and exit the process. ``argument_spec`` and ``options`` are
    AnsibleModule's; ``netns`` is added to the spec. ``body`` returns the result: ``changed`` and, where the
    module has one, ``diff`` (dropped unless asked for). An :class:`IpvsError` becomes a failed task with its
    message. A module that ``writes`` runs under its network namespace's lock, except in check mode, which leaves
    no trace.
    """
    module = AnsibleModule(
        argument_spec={**argument_spec, "netns": {"type": "str"}}, supports_check_mode=True, **options
    )
    # a table is thousands of values without cycles, which the collector would walk again and again for nothing
    gc.disable()
    repeated = _repeated(module.params)
    try:
        enter_namespace(module.params["netns"])
        with namespace_lock() if writes and not module.check_mode else contextlib.nullcontext():
            result = body(Task(module))
    except IpvsError as error:
        module.fail_json(msg=str(error), **error.details, **repeated)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result, **repeated)


def _repeated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Where a parameter is too long to be repeated, what the result is to have in the place of ansible-core's own
    repetition.
    """
    sizes = {name: len(repr(value)) for name, value in params.items()}
    long = {name: f"not repeated: {size} characters" for name, size in sizes.items() if size > MOST_REPEATED}
    return {"invocation": {"module_args": {**params, **long}}} if long else {}


def enter_namespace(name: Optional[str]) -> None:
    """Move this process into the named network namespace (ip-netns(8)); ``None`` stays where it is. Never creates one.

    :raises InvalidInput: no such namespace, or one that cannot be entered.
    :raises Forbidden: the process lacks CAP_SYS_ADMIN.
    """
    if name is None:
        return
    known = sorted(os.listdir(NETNS_DIR)) if os.path.isdir(NETNS_DIR) else []
    if name not in known:
        rule = f"no such network namespace; known: {', '.join(known) or 'none'} (none is created)"
        raise InvalidInput(str(Finding(at("netns"), rule, name)))
    try:
        from ._files import opened  # most runs stay where they are

        with opened(os.path.join(NETNS_DIR, name)) as file:
            _setns(file.fileno())
    except PermissionError:
        raise Forbidden("entering a network namespace needs CAP_SYS_ADMIN; run the task with become") from None
    except OSError as error:
        leftover = error.errno == errno.EINVAL  # nothing is mounted on it
        rule = "is no network namespace: a leftover file" if leftover else f"cannot be entered: {error.strerror}"
        raise InvalidInput(str(Finding(at("netns"), rule, name))) from None


def _setns(descriptor: int) -> None:
    if hasattr(os, "setns"):  # Python 3.12
        os.setns(descriptor, CLONE_NEWNET)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def namespace_id() -> str:
    """The device and inode of the network namespace this process is in: its identity while it lasts (namespaces(7))."""
    status = os.stat("/proc/self/ns/net")
    return f"{status.st_dev}-{status.st_ino}"


def namespace_cookie() -> int:
    """What the kernel gives to one network namespace alone, while it uses the inode of one that is gone again; 0 before
    Linux 5.14.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
    except OSError:
        return 0


@contextlib.contextmanager
def namespace_lock(timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock of this network namespace, so that two runs never interleave; it ends with the process, however
    that ends.

    :raises IpvsError: another run holds it for longer than ``timeout`` seconds, and the message names its process; or
        there is no place for it.
    :raises Forbidden: the process is not root.
    """
    path = os.path.join(STATE_DIR, f"{namespace_id()}.lock")
    try:
        os.makedirs(STATE_DIR, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise Forbidden(f"{path} is for root alone: run the task as root (become: true)") from None
    except OSError as error:
        raise IpvsError(f"the lock {path} cannot be made: {error.strerror}") from None
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace") or "unknown"
                    raise IpvsError(f"another run (process {holder}) has held {path} for {timeout:.0f} s") from None
                time.sleep(0.1)
        os.truncate(descriptor, 0)
        with contextlib.suppress(OSError):  # a full file system: no other run learns who holds it
            os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)
