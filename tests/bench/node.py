# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the bench that runs in a node: one repetition of one tool at a time, each in a fresh network namespace.

``node.py measure JOB`` prints one JSON object per measurement. ``node.py module ARGUMENTS SPAWNED`` runs ipvs_table
once with a clock around its steps, from outside: nothing in the collection knows of it.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
STATE = Path("/run/l4lb-ipvs")
TRACE = HERE / "trace"
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
IDLE_SECONDS = 120
#: Commands of the IPVS family that only read: GET_SERVICE, GET_DEST, GET_DAEMON, GET_CONFIG, GET_INFO.
READS = {4, 8, 11, 13, 15}


def settle() -> None:
    """Wait until the kernel has done its work behind the scenes, such as taking down the former namespace."""
    deadline = time.monotonic() + IDLE_SECONDS

    def used() -> int:
        user, nice, system, *_rest = (
            int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        )
        return user + nice + system

    calm = 0
    while calm < 3:
        if time.monotonic() > deadline:
            sys.exit(f"the node is not idle after {IDLE_SECONDS} s")
        before = used()
        time.sleep(0.2)
        calm = calm + 1 if used() - before <= 2 else 0


def fresh_namespace() -> None:
    """Move this process, and with it whatever it starts, into a new network namespace, and bring its lo up: without an
    address IPVS takes no IPv4 server.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        sys.exit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    for path in STATE.glob("*"):  # the number of a namespace is used again
        path.unlink()
    settle()


def timed(argv: list[str], source: Path | None = None) -> tuple[float, bytes]:
    """Seconds from start to end of a command, and what it printed."""
    with open(source or os.devnull, "rb") as data, open(HERE / "output", "w+b") as output:
        begin = time.monotonic()
        status = subprocess.run(argv, stdin=data, stdout=output, check=False).returncode
        seconds = time.monotonic() - begin
        output.seek(0)
        text = output.read()
    if status:
        sys.exit(f"{argv} ended with {status}: {text[-2000:].decode()}")
    return seconds, text


def saved() -> tuple[float, str]:
    """Seconds that ``ipvsadm -Sn`` takes, and a hash of what it shows, whatever its order."""
    seconds, text = timed(["ipvsadm", "-Sn"])
    return seconds, hashlib.sha256(b"\n".join(sorted(text.split(b"\n")))).hexdigest()


def restored(size: str) -> float:
    return timed(["ipvsadm", "--restore"], HERE / f"{size}.rules")[0]


def module(source: str, check: bool = False, trace: bool = False, form: str = "json", **options: Any) -> dict[str, Any]:
    """One run of ipvs_table on a file of the bench: what :func:`run_module` prints, and with ``trace`` the messages."""
    arguments = {"src": str(HERE / f"{source}.{form}"), **options, "_ansible_check_mode": check}
    command = [sys.executable, __file__, "module", json.dumps(arguments), str(time.monotonic())]
    if trace:
        command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=sendto", "-xx", "-s", "20", "-o", str(TRACE), *command]
    told: dict[str, Any] = json.loads(timed(command)[1].splitlines()[-1])
    if trace:
        told["writes"] = sum(command not in READS for command in commands(TRACE.read_text()))
    return told


def commands(trace: str) -> Iterator[int]:
    """The commands of all generic netlink messages to IPVS in the output of strace(1)."""
    for kind, first in re.findall(r'nlmsg_type=([^,]+),[^}]*\}, "\\x(..)', trace):
        if not kind.startswith("nlctrl"):
            yield int(first, 16)


def by_ipvsadm(size: str) -> dict[str, Any]:
    fresh_namespace()
    seconds = restored(size)
    return {"restore": seconds, **dict(zip(("save", "table"), saved()))}


def by_module(size: str) -> dict[str, Any]:
    fresh_namespace()
    runs = {"check": module(size, check=True), "apply": module(size)}
    save, table = saved()
    runs["second"] = module(size)
    runs["purge"] = module(size, purge="owned")
    runs["edit"] = module(f"{size}-edit")
    fresh_namespace()
    runs["rules"] = module(size, form="rules")  # the very file that ipvsadm restores
    return {**runs, "save": save, "table": table}


def by_memory(size: str) -> dict[str, Any]:
    fresh_namespace()
    return {"apply": module(size), "second": module(size), "purge": module(size, purge="owned")}


def by_trace(size: str) -> dict[str, Any]:
    fresh_namespace()
    runs = {"check": module(size, check=True, trace=True)}
    restored(size)
    runs["second"] = module(size, trace=True)
    runs["purge"] = module(size, trace=True, purge="owned")
    runs["edit"] = module(f"{size}-edit", trace=True)
    return {name: run["writes"] for name, run in runs.items()}


def by_start(payload: str) -> dict[str, Any]:
    """Seconds from the start of a module, as Ansible ships it, to its first netlink byte."""
    fresh_namespace()
    trace = ["strace", "-f", "--seccomp-bpf", "-ttt", "-e", "trace=execve,sendto", "-o", str(TRACE)]
    timed([*trace, sys.executable, str(HERE / payload)])
    moments = [
        float(line.split()[1]) for line in TRACE.read_text().splitlines() if "execve(" in line or "nlmsg" in line
    ]
    return {"seconds": moments[1] - moments[0]}


MEASUREMENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "ipvsadm": by_ipvsadm,
    "module": by_module,
    "memory": by_memory,
    "trace": by_trace,
    "start": by_start,
}


def measure(job: list[list[str]]) -> None:
    """Do (measurement, subject) after (measurement, subject), and tell each when it is done."""
    for what, subject in job:
        print(json.dumps({"what": what, "subject": subject, **MEASUREMENTS[what](subject)}), flush=True)


class Clock:
    """Adds up the seconds spent in the steps of a run. A step inside another counts for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    def around(self, owner: Any, name: str, phase: str) -> None:
        function = getattr(owner, name)

        def step(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside = True
            begin = time.monotonic()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - begin
                self._inside = False

        setattr(owner, name, step)


def run_module(arguments: dict[str, Any], spawned: float) -> None:
    """Run the module's main() and print how long it and its steps took, and what of its result the bench compares.
    What main() itself imports, where it needs it, is imported before in every run, and counts for the whole.
    """
    sys.path.insert(0, str(HERE / "lib"))
    from ansible.module_utils import basic
    from ansible_collections.l4lb.ipvs.plugins.module_utils import _client, _converge, _model, _plan, _policy
    from ansible_collections.l4lb.ipvs.plugins.modules import ipvs_table

    begin = time.monotonic()
    from ansible_collections.l4lb.ipvs.plugins.module_utils import _change, _ownership, _source

    clock = Clock()
    for owner, name, phase in (
        (basic.AnsibleModule, "__init__", "arguments"),
        (_source, "load", "parse"),
        (_model, "parse_services", "validate"),
        (_client.Client, "table", "read"),
        (_policy.Policy, "plan", "plan"),
        (_policy.Policy, "checked", "plan"),
        (_change, "apply", "write"),
        (_client.Client, "entries", "read"),
        (_change, "_read_back", "verify"),
        (_ownership.Register, "_load", "record"),
        (_ownership.Register, "claim", "record"),
        (_ownership.Register, "strike", "record"),
        (_ownership.Register, "settle", "record"),
        (basic.AnsibleModule, "exit_json", "result"),
    ):
        clock.around(owner, name, phase)
    operations: list[Any] = []  # the result shows the first of them
    shown = _converge.listed
    _converge.listed = lambda all_of_them: (operations.extend(all_of_them), shown(all_of_them))[1]
    results: list[dict[str, Any]] = []
    leave = basic.AnsibleModule.exit_json
    basic.AnsibleModule.exit_json = lambda self, **result: (results.append(result), leave(self, **result))
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    basic._ANSIBLE_PROFILE = "legacy"

    try:
        ipvs_table.main()
    except SystemExit as ended:
        if ended.code != 0:
            raise
    whole = time.monotonic() - begin
    [result] = results
    told = {
        "start": begin - spawned,
        "whole": whole,
        "phases": clock.seconds,
        "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "counts": result["counts"],
        "operations": hashlib.sha256("\n".join(map(_plan.operation_line, operations)).encode()).hexdigest(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    if sys.argv[1] == "module":
        run_module(json.loads(sys.argv[2]), float(sys.argv[3]))
    else:
        measure(json.loads(sys.argv[2]))
