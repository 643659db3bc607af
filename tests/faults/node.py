# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults, as a node of the lab plays them: each function whose name begins with ``test_`` is one, in a network
namespace of its own, with entries of somebody else in its table.

``node.py NAME`` runs one of them and ends with status 0 or a traceback. The module is the real one in a process of its
own, strace(1) makes its system calls fail, and ipvsadm is the witness. The collection and Ansible's module_utils lie
beside this file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import importlib
import itertools
import json
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
PLUGINS = "ansible_collections.l4lb.ipvs.plugins"
STATE = Path("/run/l4lb-ipvs")
TRACE = HERE / "trace"
NAMESPACE = "faults"
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it
PATIENCE = 30  # seconds for what is waited for
MOST_TOLD = 65536  # bytes of a result, however large the table

Lines = set[str]

#: Commands of the IPVS family (linux/ip_vs.h).
WRITES = {1: "NEW_SERVICE", 2: "SET_SERVICE", 3: "DEL_SERVICE", 5: "NEW_DEST", 6: "SET_DEST", 7: "DEL_DEST"}
#: The type of messages to it (linux/genetlink.h); the families come after it.
GENERIC_CONTROLLER = 0x10

FOREIGN = {
    line
    for port in range(1, 4)
    for line in (
        f"-A -t 192.0.2.99:{port} -s lc -p 77",
        f"-a -t 192.0.2.99:{port} -r 198.51.100.99:{port} -m -w 7",
    )
}


def service(port: int, servers: Sequence[int], scheduler: str = "wlc", weight: int = 1) -> dict[str, Any]:
    listed = [{"address": f"198.51.100.{last}", "weight": weight} for last in servers]
    return {"address": "192.0.2.10", "port": port, "scheduler": scheduler, "servers": listed}


def lines_of(services: Sequence[dict[str, Any]]) -> Lines:
    """What ``ipvsadm -Sn`` prints of them."""
    found = set()
    for one in services:
        name = f"-t {one['address']}:{one['port']}"
        found.add(f"-A {name} -s {one['scheduler']}")
        found |= {f"-a {name} -r {it['address']}:{one['port']} -g -w {it['weight']}" for it in one["servers"]}
    return found


def names(lines: Lines) -> Lines:
    """What the lines are about, without the options."""
    return {" ".join(line.split()[1 : 3 if line.startswith("-A") else 5]) for line in lines}


OLD = [service(80, [11, 12, 13]), service(81, [11, 12])]
#: Every kind of operation on the way from OLD: a service more and one less, servers of the other more, less and other.
NEW = [service(80, [11, 13, 14], scheduler="wrr", weight=5), service(82, [11])]
#: The same, with more additions than one batch holds.
LARGE = [*NEW, service(83, range(1, 121))]


# the module


class Killed(Exception):
    """The run was ended by a signal and told nothing."""


class Run:
    """A run of ipvs_table in a process of its own. ``inject`` are expressions of ``strace --inject``; they count the
    calls of this process. With or without them, ``trace`` writes down what it sends.
    """

    def __init__(
        self,
        services: Optional[Sequence[dict[str, Any]]] = None,
        *,
        check: bool = False,
        inject: Sequence[str] = (),
        trace: bool = False,
        before: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        params = {"netns": NAMESPACE, "purge": "owned", "max_removals": "100%", "services": services, **options}
        arguments = {name: value for name, value in params.items() if value is not None}
        arguments.update(_ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp=str(HERE))
        gate, opener = os.pipe()
        self._told, writing = os.pipe()
        self._tracer: Optional[subprocess.Popen[str]] = None
        self.process = os.fork()
        if self.process == 0:
            for descriptor in (opener, self._told):
                os.close(descriptor)
            os.read(gate, 1)
            for descriptor in (1, 2):
                os.dup2(writing, descriptor)
            os.close(writing)
            self._main(arguments, before)
        os.close(gate)
        os.close(writing)
        if inject or trace:
            self._attach(inject)
        os.close(opener)

    @staticmethod
    def _main(arguments: dict[str, Any], before: Callable[[], object]) -> None:
        from ansible.module_utils import basic

        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        basic._ANSIBLE_PROFILE = "legacy"
        try:
            before()
            importlib.import_module(f"{PLUGINS}.modules.ipvs_table").main()
        except SystemExit:
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:  # nothing of the test may go on in this process, whatever the pipe says
            os._exit(0)

    def _attach(self, inject: Sequence[str]) -> None:
        command = ["strace", "-f", "-p", str(self.process), "-e", "trace=sendto,recvfrom", "-xx", "-s", "20"]
        for expression in inject:
            command += ["-e", f"inject={expression}"]
        self._tracer = subprocess.Popen([*command, "-o", str(TRACE)], stderr=subprocess.PIPE, text=True)
        assert self._tracer.stderr is not None
        told = self._tracer.stderr.readline()
        assert "attached" in told, told + self._tracer.stderr.read()

    def wait_until_stopped(self) -> None:
        dummy, status = os.waitpid(self.process, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"ended with {status} before it was to be stopped: {self._output()}"

    def wait_until_at_the_lock(self) -> None:
        """It has opened the lock's file, which is no more than a system call before it asks for the lock."""
        deadline = time.monotonic() + PATIENCE
        opened: list[str] = []
        while not any(path.endswith(".lock") for path in opened):
            assert time.monotonic() < deadline, opened
            time.sleep(0.05)
            with contextlib.suppress(FileNotFoundError):  # one that was closed meanwhile
                opened = [os.readlink(one) for one in Path(f"/proc/{self.process}/fd").iterdir()]

    def go_on(self) -> None:
        os.kill(self.process, signal.SIGCONT)

    def hang_up(self) -> None:
        """Nobody reads any more what it tells."""
        os.close(self._told)

    def ended(self) -> int:
        """Wait for its end -> the status of waitpid(2)."""
        status = os.waitpid(self.process, 0)[1]
        if self._tracer:
            self._tracer.communicate()
        return status

    def _output(self) -> str:
        with open(self._told, encoding="utf-8") as pipe:
            return pipe.read()

    def result(self) -> dict[str, Any]:
        """What it returned.

        :raises Killed: nothing.
        """
        output = self._output()
        if os.WIFSIGNALED(self.ended()):
            raise Killed
        [line] = [line for line in output.splitlines() if line.startswith("{")] or [""]
        assert line, f"no result, but: {output}"
        told: dict[str, Any] = json.loads(line)
        return told


def run(services: Optional[Sequence[dict[str, Any]]] = None, **options: Any) -> dict[str, Any]:
    """A run that must not fail -> its result."""
    result = Run(services, **options).result()
    assert not result.get("failed"), result
    return result


def refused(services: Optional[Sequence[dict[str, Any]]] = None, **options: Any) -> dict[str, Any]:
    """A run that must fail, in one sentence -> its result."""
    result = Run(services, **options).result()
    assert result.get("failed"), result
    assert "Traceback" not in str(result), result
    return result


def traced(call: str) -> list[str]:
    """The lines of the last trace that are of a system call."""
    return [line for line in TRACE.read_text().splitlines() if f"{call}(" in line]


def written() -> list[str]:
    """The commands that the last traced run sent to change something."""
    found = []
    for kind, first in re.findall(r'nlmsg_type=(\w+)[^}]*\}, "\\x(..)', "\n".join(traced("sendto"))):
        if int(kind, 16) > GENERIC_CONTROLLER and int(first, 16) in WRITES:
            found.append(WRITES[int(first, 16)])
    return found


def with_socket(**methods: Callable[..., Any]) -> Callable[[], None]:
    """For ``before``: the module's socket has these methods. Each is called with the one whose place it takes, then
    with the arguments.
    """

    def before() -> None:
        usual = socket.socket

        class Socket(usual):  # type: ignore[valid-type, misc]
            pass

        for name, method in methods.items():
            setattr(
                Socket,
                name,
                lambda self, *arguments, name=name, method=method: method(
                    functools.partial(getattr(usual, name), self), *arguments
                ),
            )
        socket.socket = Socket  # type: ignore[misc]

    return before


def writes_in(data: bytes) -> list[str]:
    """The commands to change something among the messages of one send."""
    found = []
    while data:
        size, kind = int.from_bytes(data[:4], sys.byteorder), int.from_bytes(data[4:6], sys.byteorder)
        if kind > GENERIC_CONTROLLER and data[16] in WRITES:
            found.append(WRITES[data[16]])
        data = data[size + 3 & ~3 :]
    return found


# the witness


def command(*argv: str, data: Optional[str] = None) -> str:
    done = subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


def inside(*argv: str, data: Optional[str] = None, namespace: str = NAMESPACE) -> str:
    return command("ip", "netns", "exec", namespace, *argv, data=data)


def table() -> Lines:
    return {" ".join(line.split()) for line in inside("ipvsadm", "-Sn").splitlines()}


def restore(lines: Lines) -> None:
    inside("ipvsadm", "-R", data="\n".join(sorted(lines)) + "\n")  # -A sorts before -a


def check_lock_is_free() -> None:
    for path in STATE.glob("*.lock"):
        with open(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_safe(before: Lines, wanted: Lines) -> None:
    """Wherever a run stops: what is foreign is untouched, what was and stays wanted is there, and nothing is removed
    unless everything that is wanted is there.
    """
    now = table()
    assert now >= FOREIGN, FOREIGN - now
    missing = (names(before) & names(wanted)) - names(now)
    assert not missing, missing
    if names(before) - names(now):
        assert now >= wanted, wanted - now


def check_converges(services: Sequence[dict[str, Any]]) -> None:
    run(services)
    assert table() == FOREIGN | lines_of(services), table() ^ (FOREIGN | lines_of(services))
    assert not run(services)["changed"]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, table()


@contextlib.contextmanager
def process(work: Callable[[], object]) -> Iterator[int]:
    """Do the work again and again in another process, while the block lasts."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        with contextlib.suppress(BaseException):
            while True:
                work()
        os._exit(1)
    os.setpgid(child, child)  # whichever of the two comes first
    try:
        yield child
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the other process ended too early"
    finally:
        os.killpg(child, signal.SIGKILL)  # with the command that it runs
        os.waitpid(child, 0)


@contextlib.contextmanager
def forbidden(module: str) -> Iterator[None]:
    """modprobe(8) fails to load the module."""
    path = Path("/etc/modprobe.d/l4lb-faults.conf")
    path.write_text(f"install {module} /bin/false\n")
    try:
        yield
    finally:
        path.unlink()


def without_module(module: str) -> None:
    """For ``before``, with the name given: this process finds no such module under /lib/modules."""
    here = Path("/lib/modules") / os.uname().release
    copy = HERE / f"without-{module}"
    copy.mkdir(exist_ok=True)
    for name in ("modules.dep", "modules.builtin"):
        lines = (here / name).read_text().splitlines(keepends=True)
        (copy / name).write_text("".join(line for line in lines if f"/{module}.ko" not in line.split(":")[0]))
    assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) == 0
    command("mount", "--make-rprivate", "/")
    command("mount", "--bind", str(copy), str(here))


def enter_user_namespace() -> None:
    """For ``before``: root of a user namespace, which is nobody to the kernel's IPVS and modules."""
    assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) == 0
    Path("/proc/self/uid_map").write_text("0 0 1")


#: For a run in a container that was given no capability outside of itself; it stays in its network namespace.
CONTAINER: dict[str, Any] = {"before": enter_user_namespace, "netns": None}


# the faults


def test_killed_at_every_send() -> None:
    """SIGKILL before the first, the second ... message leaves: the lock is free, the table is safe, the next run
    converges, and the one after that changes nothing.
    """
    check_converges(OLD)
    run(LARGE, trace=True)
    sends = len(traced("sendto"))
    assert sends > 10, sends
    for number in range(1, sends + 1):
        check_converges(OLD)
        try:
            Run(LARGE, inject=[f"sendto:signal=SIGKILL:when={number}"]).result()
            raise AssertionError(f"not killed at send {number} of {sends}")
        except Killed:
            check_lock_is_free()
            check_safe(lines_of(OLD), lines_of(LARGE))
            check_converges(LARGE)


def test_controller_that_hangs_up() -> None:
    """Nobody reads the result, from before the first write on: the work is done all the same."""
    check_converges(OLD)
    one = stopped_before_writing(LARGE)
    assert table() == FOREIGN | lines_of(OLD)
    one.hang_up()
    one.go_on()
    one.ended()
    assert table() == FOREIGN | lines_of(LARGE)
    check_lock_is_free()
    assert not run(LARGE)["changed"]
    check_converges(LARGE)


def test_scheduler_that_cannot_be_loaded() -> None:
    """The kernel has the module and cannot load it, which no look beforehand tells: nothing is removed."""
    check_converges(OLD)
    with forbidden("ip_vs_sed"):
        result = refused([service(90, [11]), service(91, [11], scheduler="sed")], trace=True)
    assert result["msg"].startswith("the kernel refused -A -t 192.0.2.10:91 -s sed: "), result["msg"]
    assert "ip_vs_sed" in result["msg"], result["msg"]
    assert [one["reason"] for one in result["outcome"]["failed"][1:]] == ["its service was refused"], result
    assert "-A -t 192.0.2.10:90 -s wlc" in result["outcome"]["applied"], result
    assert "-D -t 192.0.2.10:80" in result["outcome"]["not_attempted"], result
    assert not [command for command in written() if command.startswith("DEL")], written()
    assert table() == FOREIGN | lines_of([*OLD, service(90, [11])])
    check_converges(NEW)


def test_scheduler_that_is_not_there() -> None:
    """The kernel does not have the module, which is seen before anything is written."""
    check_converges(OLD)
    for check in (True, False):
        result = refused(
            [*NEW, service(91, [11], scheduler="fo")],
            check=check,
            trace=True,
            before=functools.partial(without_module, "ip_vs_fo"),
        )
        told = "-A -t 192.0.2.10:91 -s fo: the module ip_vs_fo is not available in this kernel"
        assert told in result["msg"], result
        assert not written()
    assert table() == FOREIGN | lines_of(OLD)


def test_host_without_ipvs() -> None:
    """ip_vs is not there, or is and cannot or may not be loaded."""
    inside("ipvsadm", "-C")
    names = [line.split()[0] for line in command("lsmod").splitlines() if line.startswith("ip_vs")]
    command("modprobe", "-r", *sorted(names, key=len, reverse=True))
    try:
        results = [
            refused(NEW, check=check, **host)
            for host in ({"before": functools.partial(without_module, "ip_vs")}, CONTAINER)
            for check in (True, False)
        ]
        with forbidden("ip_vs"):
            results.append(refused(NEW))
        for result in results:
            assert result["msg"].startswith("the kernel module ip_vs is not loaded and cannot be loaded ("), result
            assert "install the kernel's modules" in result["msg"], result
        assert not Path("/sys/module/ip_vs").exists()
    finally:
        command("modprobe", "ip_vs")
        restore(FOREIGN)
    check_converges(NEW)


def test_container_without_the_capability() -> None:
    """Root of a user namespace is not enough for IPVS."""
    held = table()
    for check in (True, False):
        assert "CAP_NET_ADMIN" in refused(NEW, check=check, **CONTAINER)["msg"]
    assert table() == held


def stopped_before_writing(services: Sequence[dict[str, Any]], before: Callable[[], object] = lambda: None) -> Run:
    """A run that has read and decided, and stands still with its first message that writes in hand."""
    writing = itertools.count()

    def send(usual: Callable[[bytes], int], data: bytes) -> int:
        if writes_in(data) and next(writing) == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        return usual(data)

    def prepare() -> None:
        before()
        with_socket(send=send)()

    one = Run(services, before=prepare)
    one.wait_until_stopped()
    return one


def test_another_adds_first() -> None:
    """What another adds between the reading and the writing is changed in place, or left if it is right already."""
    check_converges(OLD)
    one = stopped_before_writing(NEW)
    others = {"-A -t 192.0.2.10:82 -s wlc", "-a -t 192.0.2.10:80 -r 198.51.100.14:80 -m -w 9"}
    restore(others)
    one.go_on()
    result = one.result()
    assert not result.get("failed"), result
    assert "-e -t 192.0.2.10:80 -r 198.51.100.14:80 -g -w 5" in result["operations"], result
    assert not {"-A -t 192.0.2.10:82 -s wlc", "-a -t 192.0.2.10:80 -r 198.51.100.14:80 -g -w 5"} & set(
        result["operations"]
    ), result
    check_converges(NEW)
    removed = run([])
    assert removed["counts"] == {"remove_server": 3}, removed  # what another added is its own


def test_another_deletes_first() -> None:
    """What another deletes between the reading and the writing is added, or is gone as it should be."""
    check_converges(OLD)
    one = stopped_before_writing(NEW)
    inside("ipvsadm", "-d", "-t", "192.0.2.10:80", "-r", "198.51.100.11:80")
    inside("ipvsadm", "-D", "-t", "192.0.2.10:81")
    one.go_on()
    result = one.result()
    assert not result.get("failed"), result
    assert "-a -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 5" in result["operations"], result
    check_converges(NEW)


def test_another_fills_a_service_that_goes() -> None:
    """What another puts into a service of ours, after the reading that led to its removal, keeps the service."""
    filled = "-a -t 192.0.2.10:81 -r 198.51.100.99:81 -m -w 9"
    check_converges(OLD)
    one = stopped_before_writing(NEW)
    restore({filled})
    one.go_on()
    result = one.result()
    assert not result.get("failed"), result
    assert table() == FOREIGN | lines_of(NEW) | {"-A -t 192.0.2.10:81 -s wlc", filled}
    inside("ipvsadm", "-d", "-t", "192.0.2.10:81", "-r", "198.51.100.99:81")
    assert run(NEW)["operations"] == ["-D -t 192.0.2.10:81"]
    check_converges(NEW)


def test_another_never_gives_way() -> None:
    """A server that another takes away whenever it is to be changed, and puts back whenever it is to be added."""
    its = ("-t", "192.0.2.10:80", "-r", "198.51.100.11:80")
    turns = itertools.cycle([("-d", *its), ("-a", *its, "-m", "-w", "9")])

    def send(usual: Callable[[bytes], int], data: bytes) -> int:
        if writes_in(data):
            command("ipvsadm", *next(turns))
        return usual(data)

    check_converges(OLD)
    wanted = [service(80, [11, 12, 13], weight=5)]
    result = refused(wanted, before=with_socket(send=send))
    assert "-r 198.51.100.11:80" in result["msg"], result
    assert "another writer is changing the table" in result["msg"], result
    assert "-e -t 192.0.2.10:80 -r 198.51.100.12:80 -g -w 5" in result["outcome"]["applied"], result
    assert "-D -t 192.0.2.10:81" in result["outcome"]["not_attempted"], result
    check_lock_is_free()
    check_converges(wanted)


def test_a_service_vanishes_while_it_is_read() -> None:
    """The kernel answers for the servers of a service that is gone as it does for one that has none. Whenever it goes,
    it is found to be gone, and its servers with it.
    """
    check_converges(OLD)
    run(OLD, check=True, trace=True)
    for number in range(1, len(traced("sendto"))):  # after the last it has been read
        one = Run(OLD, check=True, inject=[f"sendto:signal=SIGSTOP:when={number}"])
        one.wait_until_stopped()
        inside("ipvsadm", "-D", "-t", "192.0.2.10:81")
        one.go_on()
        result = one.result()
        assert set(result["operations"]) == lines_of(OLD[1:]), (number, result)
        restore(lines_of(OLD[1:]))


def test_an_entry_is_lost_after_the_writing() -> None:
    """The kernel has said yes, and does not have it: the reading back tells."""
    check_converges(OLD)
    run(NEW, check=True, trace=True)
    reading = len(traced("sendto"))
    one = Run(NEW, inject=[f"sendto:signal=SIGSTOP:when={reading + 2}"])  # additions, removals
    one.wait_until_stopped()
    inside("ipvsadm", "-D", "-t", "192.0.2.10:82")
    one.go_on()
    result = one.result()
    assert result.get("failed"), result
    assert result["changed"], result
    assert result["msg"] == (
        "another program changed the table after -A -t 192.0.2.10:82 -s wlc, which left nothing; run the task again"
    ), result
    assert result["differences"][1]["operation"] == "-a -t 192.0.2.10:82 -r 198.51.100.11:82 -g -w 1", result
    check_converges(NEW)


def test_the_services_of_others_need_the_word_all() -> None:
    """Fifty of them, most with thresholds, which ipvsadm -Sn leaves out."""
    more = {
        line
        for port in range(4, 51)
        for line in (
            f"-A -t 192.0.2.99:{port} -s lc -p 77",
            f"-a -t 192.0.2.99:{port} -r 198.51.100.99:{port} -m -w 7 -x 9 -y 3",
        )
    }

    def others() -> Lines:
        listings = inside("ipvsadm", "-Sn"), inside("ipvsadm", "-Ln", "--thresholds")
        return {" ".join(line.split()) for text in listings for line in text.splitlines() if ".99:" in line}

    check_converges(OLD)
    restore(more)
    before = others()
    assert len(before) == 200, before
    for purge in ("none", "owned"):
        result = run([service(80, [11])], purge=purge)
        assert "192.0.2.99" not in str(result), result
        assert others() == before
    result = run([service(80, [11])], purge="all", check=True)
    assert {f"-D -t 192.0.2.99:{port}" for port in range(1, 51)} == set(result["operations"]), result
    assert set(result["diff"]["before"].splitlines()) >= FOREIGN, result
    for port in range(4, 51):
        inside("ipvsadm", "-D", "-t", f"192.0.2.99:{port}")
    assert table() == FOREIGN | lines_of([service(80, [11])])


def test_kube_proxy_is_not_fought() -> None:
    """It takes away whatever it does not know, once a second."""

    def reconcile() -> None:
        time.sleep(1)
        for words in (line.split() for line in table() - FOREIGN if line.startswith("-A")):
            inside("ipvsadm", "-D", *words[1:3])

    check_converges(OLD)
    command("ip", "-n", NAMESPACE, "link", "add", "kube-ipvs0", "type", "dummy")
    for check in (True, False):
        assert "kube-proxy" in refused(NEW, check=check)["msg"]
    assert table() == FOREIGN | lines_of(OLD)
    with process(reconcile):
        wait_until(lambda: table() == FOREIGN)
        assert "kube-proxy" in refused(OLD, trace=True)["msg"]
        assert not written()


#: How many changes another writer has made to the table; shared with the process it is.
CHURNED = mmap.mmap(-1, 8)
#: Changes a second of a writer that hardly rests.
CHURN_RATE = 1000


def churned() -> int:
    return int.from_bytes(CHURNED[:], sys.byteorder)


def churn(pause: float, within: Optional[int] = None) -> Callable[[], object]:
    """Another writer that adds and removes services of its own, in front of ours in the kernel's order and behind, and
    servers of its own ``within`` our service of that port, and rests after each. ipvsadm would be too slow for it.
    """
    client, encode, errors, model = (
        importlib.import_module(f"{PLUGINS}.module_utils.{name}")
        for name in ("_client", "_encode", "_errors", "_model")
    )
    its = [{"address": f"192.0.2.{last}", "port": last, "scheduler": "rr"} for last in range(100, 140)]
    servers = [{"address": f"198.51.100.{last}", "forward": "nat"} for last in range(200, 220)]
    ours = [{"address": "192.0.2.10", "port": within, "servers": servers}] if within else []
    findings = errors.Findings()
    theirs, touched = (model.parse_services(services, "services", findings) for services in (its, ours))
    findings.raise_problems()
    batches = [
        [
            *(encode.write_request(f"{word}_service", key, theirs[key].service) for key in theirs),
            *(
                encode.write_request(f"{word}_server", key, server)
                for key, entry in touched.items()
                for server in entry.servers.values()
            ),
        ]
        for word in ("add", "remove")
    ]

    @functools.cache
    def session() -> Any:
        importlib.import_module(f"{PLUGINS}.module_utils._module").enter_namespace(NAMESPACE)
        return client.Client()

    def work() -> None:
        for batch in batches:
            assert session().write(batch).errors == {}
            CHURNED[:] = (churned() + len(batch)).to_bytes(8, sys.byteorder)
            time.sleep(pause)

    return work


def wait_until_seen(lines: Lines) -> None:
    """ipvsadm reads a table that changes no better than others, but not twice in the same wrong way."""
    wait_until(lambda: not lines - table())


def test_churn_never_misleads() -> None:
    """A table that hardly rests, then one that does: a run finishes or says so; it never takes away or adds what
    is right. Between rests some finish.
    """
    check_converges(LARGE)
    for pause, runs in ((0.03, 15), (1.0, 5)):
        outcomes, seen, took = [], [], 0.0
        with process(churn(pause, within=83)):
            for dummy in range(runs):
                before, begin = churned(), time.monotonic()
                result = Run(LARGE).result()
                assert not result.get("operations"), result
                if result.get("failed"):
                    assert "another writer" in result["msg"], result
                outcomes.append("failed" if result.get("failed") else "unchanged")
                seen.append(churned() - before)
                took += time.monotonic() - begin
                wait_until_seen(lines_of(LARGE))
        for words in map(str.split, sorted(table() - FOREIGN - lines_of(LARGE))):
            inside("ipvsadm", *(["-D", *words[1:3]] if words[0] == "-A" else ["-d", *words[1:5]]))
        check_converges(LARGE)
        rate = sum(seen) / took
        print(f"{rate:.0f} changes a second: {outcomes.count('failed')} of {runs} runs could not read the table")
        assert any(seen) if pause == 1 else rate >= CHURN_RATE, (rate, seen)
    assert "unchanged" in outcomes, outcomes
    run([])
    assert table() == FOREIGN, "what a reading has missed is ours no more"


def test_change_beside_another_writer() -> None:
    """A table that rests at times: the change is made, and made right."""
    check_converges(OLD)
    with process(churn(1.0)):
        for services in (NEW, OLD, NEW):
            deadline = time.monotonic() + PATIENCE
            while True:
                held = table() & (lines_of(OLD) | lines_of(NEW))
                result = Run(services).result()
                check_safe(held, lines_of(services))
                if not result.get("failed"):
                    break
                assert "another writer" in result["msg"], result
                assert time.monotonic() < deadline, result
            assert table() >= lines_of(services)


def test_no_reply() -> None:
    """A message that never reaches the kernel, and so is never answered."""
    check_converges(OLD)
    planned = run(NEW, check=True, trace=True)["operations"]
    number = len(traced("sendto")) + 1
    begin = time.monotonic()
    result = refused(NEW, inject=[f"sendto:retval=100:when={number}"])
    assert time.monotonic() - begin < 40
    assert "did not answer an IPVS request within 30 s" in result["msg"], result
    removals = [line for line in planned if line.startswith(("-d", "-D"))]
    assert result["outcome"] == {
        "applied": [],
        "failed": [],
        "not_attempted": removals,
        "unknown": planned[: -len(removals)],
    }, result
    assert table() == FOREIGN | lines_of(OLD)
    check_lock_is_free()
    check_converges(NEW)


def test_no_reply_to_a_later_batch() -> None:
    """The second batch of additions never reaches the kernel: what the first one did is told, and is there."""
    batches = itertools.count(1)

    def send(usual: Callable[[bytes], int], data: bytes) -> int:
        return len(data) if writes_in(data) and next(batches) == 2 else usual(data)

    def before() -> None:
        be_impatient()
        with_socket(send=send)()

    check_converges(OLD)
    result = refused(LARGE, before=before)
    outcome = result["outcome"]
    assert "did not answer" in result["msg"], result
    assert result["changed"], result
    assert len(outcome["applied"]) == 100, result
    assert set(outcome["applied"]) <= table(), set(outcome["applied"]) - table()
    assert outcome["unknown"], result
    assert not names(table()) & names({line for line in outcome["unknown"] if line.startswith("-a")})
    assert outcome["not_attempted"], result
    assert all(line.startswith(("-d", "-D")) for line in outcome["not_attempted"]), result
    check_safe(lines_of(OLD), lines_of(LARGE))
    check_converges(LARGE)


def check_outcome(result: dict[str, Any], planned: Sequence[str]) -> None:
    """What became of each operation is told."""
    outcome = dict(result["outcome"])
    failed = [one["operation"] for one in outcome.pop("failed")]
    assert sorted([*failed, *itertools.chain(*outcome.values())]) == sorted(planned), result


def garbled(buffer: bytearray, size: int) -> int:
    """All but the header of the first message."""
    buffer[16:size] = b"\xff" * (size - 16)
    return size


def dropped(dummy_buffer: bytearray, dummy_size: int) -> int:
    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


#: What the module receives in the place of a reply.
BAD_REPLIES: dict[str, Callable[[bytearray, int], int]] = {
    "cut": lambda dummy_buffer, size: size // 2 | 1,  # an odd number is not the end of a message
    "empty": lambda dummy_buffer, dummy_size: 0,
    "garbled": garbled,
    "dropped": dropped,
    "long": lambda dummy_buffer, dummy_size: 1 << 20,  # MSG_TRUNC: of which the buffer has taken what fits
}


def be_impatient() -> None:
    """No reply is waited for longer than a second."""
    importlib.import_module(f"{PLUGINS}.module_utils._client").Client.__init__.__defaults__ = (1,)


def spoiling(number: int, spoil: Optional[Callable[[bytearray, int], int]]) -> Callable[[], None]:
    """For ``before``, of an impatient module: the reply of this number is spoiled, or without ``spoil`` lost without a
    word.
    """
    received = itertools.count(1)

    def receive(usual: Callable[..., int], buffer: bytearray, *arguments: int) -> int:
        size = usual(buffer, *arguments)
        if next(received) != number:
            return size
        return spoil(buffer, size) if spoil else usual(buffer, *arguments)

    def before() -> None:
        be_impatient()
        with_socket(recv_into=receive)()

    return before


def replies() -> tuple[int, int]:
    """How many replies a run from OLD to NEW gets before it writes, and in all; the table is OLD again."""
    counts = []
    for check in (True, False):
        run(NEW, check=check, trace=True)
        counts.append(len(traced("recvfrom")))
    check_converges(OLD)
    return counts[0], counts[1]


def test_bad_replies() -> None:
    """Each reply in turn is bad in the next way: the run fails in one sentence, and what it has not read it has not
    acted upon.
    """
    check_converges(OLD)
    reading, most = replies()
    planned = run(NEW, check=True)["operations"]
    for number, name in zip(range(1, most + 1), itertools.cycle(BAD_REPLIES)):
        result = refused(NEW, before=spoiling(number, BAD_REPLIES[name]))
        assert "\n" not in result["msg"], (name, number, result)
        if number <= reading:
            assert table() == FOREIGN | lines_of(OLD), (name, number, table())
            continue
        check_outcome(result, planned)
        check_safe(lines_of(OLD), lines_of(NEW))
        check_lock_is_free()
        check_converges(NEW)
        run(OLD)


def test_lost_replies() -> None:
    """Each reply in turn is lost without a word, as no kernel does: the run waits for it in vain and says so, or what
    was in it is found by reading again.
    """
    check_converges(OLD)
    reading, most = replies()
    planned = run(NEW, check=True)["operations"]
    outcomes = []
    for number in range(1, most + 1):
        begin = time.monotonic()
        result = Run(NEW, before=spoiling(number, None)).result()
        assert time.monotonic() - begin < PATIENCE, (number, result)
        check_safe(lines_of(OLD), lines_of(NEW))
        if not result.get("failed"):
            outcomes.append("found")
            assert table() == FOREIGN | lines_of(NEW), (number, result)
        else:
            outcomes.append("missed")
            assert "\n" not in result["msg"], (number, result)
            if number <= reading:
                assert table() == FOREIGN | lines_of(OLD), (number, table())
                continue
            check_outcome(result, planned)
        # what a run finds that it did not read, it takes for another's
        inside("ipvsadm", "-C")
        restore(FOREIGN)
        run(OLD)
    print(f"{outcomes.count('missed')} of {most} were missed")


def test_interrupted_calls() -> None:
    """Every second system call is interrupted by a signal, and done again."""
    check_converges(OLD)
    run(NEW, inject=[f"{call}:error=EINTR:when=1+2" for call in ("sendto", "recvfrom")])
    assert "EINTR" in TRACE.read_text()
    assert table() == FOREIGN | lines_of(NEW)


BESIDE_OTHERS = [*LARGE, service(84, range(1, 121))]


def refused_for_others(before: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """The result of a run of BESIDE_OTHERS to which the kernel gives the smallest buffer, and refuses a batch of
    additions, for another has been first.
    """
    path = Path("/proc/sys/net/core/rmem_default")
    usual = path.read_text()
    path.write_text("2304")
    try:
        check_converges(OLD)
        run(LARGE, before=before)
        check_converges(LARGE)
        one = stopped_before_writing(BESIDE_OTHERS, before=before)
        restore(
            {f"-a -t 192.0.2.10:84 -r 198.51.100.{last}:84 -g -w 9" for last in range(1, 121)}
            | {"-A -t 192.0.2.10:84 -s rr"}
        )
        one.go_on()
        return one.result()
    finally:
        path.write_text(usual)


def test_short_receive_buffer() -> None:
    """The module makes it larger, and all refusals fit in it."""
    result = refused_for_others()
    assert not result.get("failed"), result
    assert result["counts"] == {"edit_service": 1, "edit_server": 120}, result
    check_converges(BESIDE_OTHERS)


def test_short_receive_buffer_that_stays_short() -> None:
    """The module may not make it larger, and refusals are lost: the run says so, and has changed nothing."""

    def setsockopt(usual: Callable[..., None], level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, SO_RCVBUFFORCE):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        usual(level, option, value)

    result = refused_for_others(with_socket(setsockopt=setsockopt))
    assert result.get("failed"), result
    assert "the kernel's answer to an IPVS request was lost" in result["msg"], result
    assert "\n" not in result["msg"], result
    assert result["outcome"]["applied"] == [], result
    assert len(result["outcome"]["unknown"]) == 100, result
    assert {line for line in table() if ":84 " in line} == {
        "-A -t 192.0.2.10:84 -s rr",
        *(f"-a -t 192.0.2.10:84 -r 198.51.100.{last}:84 -g -w 9" for last in range(1, 121)),
    }
    assert table() >= FOREIGN | lines_of(LARGE), (FOREIGN | lines_of(LARGE)) - table()
    check_lock_is_free()
    check_converges(BESIDE_OTHERS)


def test_mass_removal_is_refused() -> None:
    """Half a list, and an empty one, as a broken inventory gives them: nothing is removed, and the plan is shown."""
    many = [service(port, [11]) for port in range(1000, 1400)]
    check_converges(many)
    for services, told in ((many[:200], "would remove 200 of 400 services"), ([], "and none is listed")):
        for check in (True, False):
            result = refused(services, check=check, max_removals="25%")
            assert told in result["msg"], result
            assert result["operations"][-1].startswith("... and "), result["operations"][-1]
            assert len(json.dumps(result)) < MOST_TOLD
    assert table() == FOREIGN | lines_of(many)


def check_large_table(count: int, width: int) -> None:
    """So many services with so many servers each: built, the result short, and the second run sends nothing that
    writes.
    """
    log = HERE / "writes"

    def send(usual: Callable[[bytes], int], data: bytes) -> int:
        with log.open("a") as lines:
            lines.writelines(f"{name}\n" for name in writes_in(data))
        return usual(data)

    services = [
        {**service(1000 + number // 50, range(1, width + 1)), "address": f"192.0.2.{1 + number % 50}"}
        for number in range(count)
    ]
    for changed in (True, False):
        log.write_text("")
        begin = time.monotonic()
        result = run(services, before=with_socket(send=send))
        took = time.monotonic() - begin
        told, writes = len(json.dumps(result)), len(log.read_text().splitlines())
        print(f"{count} x {width}: {took:.1f} s, {writes} writes, {told} bytes told", flush=True)
        assert result["changed"] == changed
        assert writes == sum(result["counts"].values()), (writes, result["counts"])
        assert bool(writes) == changed
        assert told < MOST_TOLD
    assert table() == FOREIGN | lines_of(services), len(table())


def test_ten_thousand_services_of_five_servers() -> None:
    check_large_table(10_000, 5)


def test_44_thousand_services_of_one_server() -> None:
    check_large_table(44_000, 1)


def test_two_runs_at_once() -> None:
    """The second waits for the first and builds on what it made; one that waits too long names the holder."""
    module = importlib.import_module(f"{PLUGINS}.module_utils._module")
    check_converges(OLD)
    first = stopped_before_writing(NEW)
    second = Run(LARGE)
    try:
        second.wait_until_at_the_lock()
        hasty = refused(LARGE, before=lambda: setattr(module.namespace_lock.__wrapped__, "__defaults__", (1.0,)))
        assert f"another run (process {first.process}) has held " in hasty["msg"], hasty
        assert table() == FOREIGN | lines_of(OLD)
    finally:
        first.go_on()
    assert first.result()["changed"]
    result = second.result()
    assert result["counts"] == {"add_service": 1, "add_server": 120}, result
    check_converges(LARGE)


# edits under load


CLIENTS, SERVERS = f"{NAMESPACE}-clients", f"{NAMESPACE}-servers"
FLOWS = 100
#: Connections of a piece of the load, and how many begin in a second.
PIECE, RATE = 2000, 400
BALANCED = {**service(80, [11, 12, 13], scheduler="mh"), "scheduler_flags": ["mh-port"], "forward": "nat"}
#: Options of the service and of its first server, one after the other.
GENTLE_EDITS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"weight": 7}),
    ({}, {"upper_threshold": 20_000, "lower_threshold": 10_000}),
    ({"scheduler_flags": ["mh-port"]}, {}),
    ({"scheduler_flags": []}, {}),
    ({"persistence_timeout": 300}, {}),
    ({"persistence_timeout": 60, "persistence_netmask": 24}, {}),
    ({"scheduler_flags": ["mh-fallback", "mh-port"]}, {"weight": 3}),
]
SCHEDULER_EDITS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"scheduler": name, "scheduler_flags": []}, {}) for name in ("wrr", "sh", "lc", "mh")
]


@contextlib.contextmanager
def neighbours() -> Iterator[None]:
    """Clients on one side of the namespace, on the other servers that answer on port 80, and their way through it."""
    command("ip", "-n", NAMESPACE, "link", "del", "lan")
    for namespace, wire, own, theirs in (
        (CLIENTS, "out", "203.0.113.1/24", ["203.0.113.2/24"]),
        (SERVERS, "lan", "198.51.100.1/24", [f"198.51.100.{last}/24" for last in (11, 12, 13)]),
    ):
        command("ip", "netns", "add", namespace)
        command("ip", "-n", NAMESPACE, "link", "add", wire, "type", "veth", "peer", "name", wire, "netns", namespace)
        for side, addresses in ((NAMESPACE, [own]), (namespace, theirs)):
            for address in addresses:
                command("ip", "-n", side, "address", "add", address, "dev", wire)
            command("ip", "-n", side, "link", "set", wire, "up")
        command("ip", "-n", namespace, "route", "add", "default", "via", own.partition("/")[0])
    command("ip", "-n", NAMESPACE, "address", "add", "192.0.2.10/32", "dev", "lo")
    inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{directory}/notify")
        told.settimeout(PATIENCE)
        serving = subprocess.Popen(
            ["ip", "netns", "exec", SERVERS, "l4lb-serve", "tcp:80"],
            env={**os.environ, "NOTIFY_SOCKET": f"{directory}/notify"},
        )
        try:
            assert told.recv(64) == b"READY=1"
            yield
        finally:
            serving.kill()
            serving.wait()
            for namespace in (CLIENTS, SERVERS):
                command("ip", "netns", "del", namespace)


def opened(namespace: str) -> socket.socket:
    """A connection from a network namespace to the service."""
    enter = importlib.import_module(f"{PLUGINS}.module_utils._module")
    enter.enter_namespace(namespace)
    try:
        return socket.create_connection(("192.0.2.10", 80), timeout=PATIENCE)
    finally:
        with open("/proc/1/ns/net") as home:
            assert ctypes.CDLL(None, use_errno=True).setns(home.fileno(), 0) == 0


def check_flows(flows: Sequence[socket.socket]) -> None:
    """Each is answered."""
    for flow in flows:
        flow.sendall(b"\n")
    for flow in flows:
        assert flow.recv(100).endswith(b" 203.0.113.2\n")


def edited_under_load(
    pieces: int, edits: Sequence[tuple[dict[str, Any], dict[str, Any]]], flows: Sequence[socket.socket]
) -> int:
    """Edit a service again and again while so many pieces of a load are made to it, and others stay open -> how many
    connections failed.
    """
    words = ["h2load", "--h1", "-n", str(PIECE), "-c", str(PIECE), "--rate-period", "50ms", "-r", str(RATE // 20)]
    words = ["ip", "netns", "exec", CLIENTS, *words, "-N", f"{PATIENCE}s", "http://192.0.2.10/"]
    done = failures = 0
    begin = time.monotonic()
    for dummy in range(pieces):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as load:
            while load.poll() is None:
                options, of_server = edits[done % len(edits)]
                first, *others = BALANCED["servers"]
                result = run([{**BALANCED, **options, "servers": [{**first, **of_server}, *others]}], trace=True)
                assert result["changed"], (done, result)
                assert written(), result
                assert set(written()) <= {"SET_SERVICE", "SET_DEST"}, (written(), result)
                check_flows(flows)
                done += 1
            assert load.stdout is not None
            told = re.search(r"(\d+) succeeded, (\d+) failed", load.stdout.read())
        assert told
        assert int(told[1]) + int(told[2]) == PIECE, told
        failures += int(told[2])
    print(f"{done} edits, {pieces * PIECE} connections in {time.monotonic() - begin:.0f} s, {failures} failed")
    assert done >= len(edits), done
    return failures


def test_edits_under_load() -> None:
    """Weights, thresholds, flags and persistence change while connections are made: none is refused, none is cut. For
    some milliseconds of a change of the scheduler the kernel has none, and refuses those that come then
    (ip_vs_ctl.c, ip_vs_edit_service); it cuts none.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * PIECE, 2 * PIECE))
    with neighbours():
        run([BALANCED])
        flows = [opened(CLIENTS) for dummy in range(FLOWS)]
        assert edited_under_load(5, GENTLE_EDITS, flows) == 0
        assert edited_under_load(1, SCHEDULER_EDITS, flows) < PIECE // 10


def main() -> None:
    for name in ("ipvs_table",):
        importlib.import_module(f"{PLUGINS}.modules.{name}")
    test: Callable[[], None] = globals()[sys.argv[1]]
    command("modprobe", "ip_vs")
    command("ip", "netns", "add", NAMESPACE)
    try:
        for words in (
            "link set lo up",
            "link add lan type dummy",
            "link set lan up",
            "address add 198.51.100.1/24 dev lan",
            "route add default dev lan",
        ):
            command("ip", "-n", NAMESPACE, *words.split())
        restore(FOREIGN)
        test()
        assert table() >= FOREIGN, FOREIGN - table()
    finally:
        command("ip", "netns", "del", NAMESPACE)


if __name__ == "__main__":
    main()
