# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU: its command line, its monitor, and the serial line over which a node takes scripts."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .common import LAB_NICS, LabError, Patience, wait_for
from .image import SEARCH_PATH, Image

PROGRAM = "qemu-system-x86_64"
MEMORY = 256  # MiB
GIVE_WAY = (str(Path(__file__).parent.parent / "give-way"), "8")
ACCELERATORS = {
    "tcg": ("-accel", "tcg,thread=multi,tb-size=128", "-cpu", "qemu64,-svm"),
    "kvm": ("-accel", "kvm", "-cpu", "host"),
}
# What an emulated processor spends, and a test of load balancing has no use for: random addresses (emulation keeps its
# translations of code by address) and stacks, an interrupt for each frame that is sent, memory zeroed when it is
# allocated, and security modules but for the one that every kernel has.
KERNEL_LINE = (
    "console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 mitigations=off audit=0 panic=1 norandmaps"
    " randomize_kstack_offset=off virtio_net.napi_tx=0 init_on_alloc=0 lsm=capability"
)
# the same in every node: user networks never meet, and the emulated router need not learn another address
MANAGEMENT_MAC = "52:54:00:4c:00:01"
BOOT_SECONDS = 300
SCRIPT_SECONDS = 60
MONITOR_SECONDS = 300


def accelerator(environment: Mapping[str, str], cpu_flags: str, kvm_usable: bool) -> str:
    """Choose ``kvm`` where it works, else ``tcg``. L4LB_LAB_ACCEL in *environment* overrides.

    A /dev/kvm that opens is not enough: there are hosts where it runs their own guests only, and those show neither
    vmx nor svm among the flags of /proc/cpuinfo.
    """
    wish = environment.get("L4LB_LAB_ACCEL", "")
    if wish:
        if wish not in ACCELERATORS:
            raise LabError(f"L4LB_LAB_ACCEL: must be one of {', '.join(ACCELERATORS)} (got {wish!r})")
        return wish
    return "kvm" if kvm_usable and re.search(r"\b(vmx|svm)\b", cpu_flags) else "tcg"


def host_accelerator() -> str:
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return accelerator(os.environ, Path("/proc/cpuinfo").read_text(), usable)


def version() -> str:
    """The version line of QEMU: a saved state fits only the version that wrote it."""
    return subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


@dataclass(frozen=True)
class Machine:
    """One QEMU process: where its files are and what it is connected to.

    :param directory: Holds its sockets, overlay, console log and pid file.
    :param nics: The socket of the segment and the machine's own, by the number of the lab's network card (1 is eth1).
        Cards that are not named are there but connected to nothing.
    :param macs: The hardware address of each lab network card.
    :param gives_way: Whether the host's scheduler is to prefer other machines.
    """

    name: str
    directory: Path
    image: Image
    accelerator: str
    ssh_port: int
    nics: Mapping[int, tuple[Path, Path]] = field(default_factory=dict)
    macs: Mapping[int, str] = field(default_factory=dict)
    memory: int = MEMORY
    gives_way: bool = False

    @property
    def overlay(self) -> Path:
        return self.directory / f"{self.name}.qcow2"

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def monitor(self) -> Path:
        return self.directory / f"{self.name}.qmp"

    @property
    def agent(self) -> Path:
        return self.directory / f"{self.name}.agent"

    @property
    def log(self) -> Path:
        """What the node prints on its console."""
        return self.directory / f"{self.name}.console"

    def command(self, state: str | None = None) -> list[str]:
        """The QEMU command line.

        :param state: What ``-incoming`` restores the machine from; without it the machine boots.
        """
        words = [*(GIVE_WAY if self.gives_way else ()), PROGRAM]
        words += ["-name", self.name, "-M", "q35", *ACCELERATORS[self.accelerator]]
        words += ["-smp", "1", "-m", str(self.memory)]
        words += ["-nodefaults", "-no-user-config", "-display", "none", "-pidfile", str(self.pid_file)]
        words += ["-qmp", f"unix:{self.monitor},server=on,wait=off"]
        words += ["-chardev", f"file,id=console,path={self.log},append=on", "-serial", "chardev:console"]
        words += ["-chardev", f"socket,id=agent,path={self.agent},server=on,wait=off", "-serial", "chardev:agent"]
        words += ["-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", KERNEL_LINE]
        words += ["-drive", f"file={self.overlay},if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap"]
        words += ["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]
        words += ["-netdev", f"user,id=net0,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"]
        words += ["-device", f"virtio-net-pci,netdev=net0,mac={MANAGEMENT_MAC},romfile="]
        for number in range(1, LAB_NICS + 1):
            if number in self.nics:
                remote, local = self.nics[number]
                backend = (
                    f"dgram,id=net{number},local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"
                )
            else:
                backend = f"hubport,id=net{number},hubid={number}"
            mac = f",mac={self.macs[number]}" if number in self.macs else ""
            words += ["-netdev", backend, "-device", f"virtio-net-pci,netdev=net{number}{mac},romfile="]
        return [*words, "-incoming", state] if state else words


def create_overlay(overlay: Path, base: Path, base_format: str) -> None:
    overlay.unlink(missing_ok=True)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", base_format, "-b", str(base), str(overlay)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": SEARCH_PATH}, capture_output=True)


def process_of(pid_file: Path) -> int | None:
    """The living process that *pid_file* names.

    A process that does not have the file's directory in its command line is somebody else's: the number was reused.
    """
    try:
        pid = int(pid_file.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    ours = any(str(pid_file.parent).encode() in word for word in words)
    return pid if ours and state != "Z" else None


def start(machine: Machine, state: Path | None = None) -> None:
    """Start the machine's process; it must have an overlay. Returns when its monitor answers."""
    for stale in (machine.monitor, machine.agent, *(local for dummy, local in machine.nics.values())):
        stale.unlink(missing_ok=True)
    log = machine.directory / f"{machine.name}.log"
    with log.open("ab") as output:
        handle = state.open("rb") if state else None
        try:
            process = subprocess.Popen(
                machine.command(f"fd:{handle.fileno()}" if handle else None),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PATH": SEARCH_PATH},
                pass_fds=[handle.fileno()] if handle else [],
            )
        finally:
            if handle:
                handle.close()

    def up() -> bool:
        if process.poll() is not None:
            raise LabError(f"{machine.name}: QEMU ended at once:\n{log.read_text(errors='replace')[-2000:]}")
        try:
            return bool(monitor(machine, "query-status")["status"] == "running")
        except OSError:
            return False

    wait_for(up, BOOT_SECONDS, f"{machine.name}: QEMU does not start", interval=0.05, pid=process.pid)


def monitor(machine: Machine, command: str, **arguments: object) -> Any:
    """Send one command to the machine's monitor (QEMU Machine Protocol) and return its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(MONITOR_SECONDS)
        connection.connect(str(machine.monitor))
        with connection.makefile("rw") as stream:
            stream.readline()  # the greeting
            answer: dict[str, Any] = {}
            for execute, values in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": execute, "arguments": values}) + "\n")
                stream.flush()
                while True:
                    line = stream.readline()
                    if not line:
                        raise OSError("the monitor closed the connection")
                    answer = json.loads(line)
                    if "event" not in answer:
                        break
    if "error" in answer:
        raise LabError(f"{machine.name}: {command}: {answer['error']['desc']}")
    return answer["return"]


class Agent:
    """The serial line of a node: scripts go in, their output comes back. No network and no encryption is involved."""

    def __init__(self, machine: Machine) -> None:
        self._name = machine.name
        self._pid = process_of(machine.pid_file)
        self._log = machine.log
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(machine.agent))
        self._pending = b""

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *dummy: object) -> None:
        self._socket.close()

    def _line(self, seconds: float, what: str) -> str:
        patience = Patience(self._pid, seconds, f"{self._name}: {what}")
        while b"\n" not in self._pending:
            data = b""
            while not data and (left := patience.left()) > 0:
                self._socket.settimeout(min(left, 5))
                with suppress(TimeoutError):
                    data = self._socket.recv(65536)
                    if not data:
                        break
            if not data:
                raise LabError(f"{self._name}: no sign of {what}; its console is in {self._log}{patience.excuse()}")
            self._pending += data
        line, dummy, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").strip()

    def wait_ready(self) -> None:
        """Wait until the node has booted and everything in it has started."""
        while self._line(BOOT_SECONDS, "a finished boot") != "ready":
            pass

    def send(self, script: str) -> None:
        """Have a shell script run in the node, without waiting for its end."""
        self._socket.sendall(base64.b64encode(script.encode()) + b"\n")

    def run(self, script: str) -> str:
        """Run a shell script in the node and return what it printed.

        :raises LabError: It ended with another status than 0; the text has its output.
        """
        self.send(script)
        status, dummy, output = self._line(SCRIPT_SECONDS, "the end of a script").partition(" ")
        text = base64.b64decode(output).decode(errors="replace")
        if status != "0":
            raise LabError(f"{self._name}: a script of the lab failed with status {status}:\n{text}")
        return text


def save(machine: Machine, state: Path) -> None:
    """Write the machine's state to the file *state*. The machine does not run on: its disk belongs to that state."""
    monitor(machine, "migrate-set-parameters", **{"max-bandwidth": 10**10, "downtime-limit": 60_000})
    monitor(machine, "migrate", uri=f"exec:cat > {shlex.quote(str(state))}")

    def done() -> bool:
        status = monitor(machine, "query-migrate").get("status")
        if status == "failed":
            raise LabError(f"{machine.name}: its state could not be saved")
        return bool(status == "completed")

    pid = process_of(machine.pid_file)
    wait_for(done, BOOT_SECONDS, f"{machine.name}: saving its state takes too long", interval=0.1, pid=pid)
