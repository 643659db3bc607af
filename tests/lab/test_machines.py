# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.ipvs_lab import cli, common, image, ports, qemu
from tests.lab.ipvs_lab.common import LabError, Patience, locked, make_private, wait_for, waited
from tests.lab.ipvs_lab.snapshot import snapshot_hash


def machine(directory: Path = Path("/lab"), **changes: object) -> qemu.Machine:
    values: dict[str, object] = {
        "name": "director1",
        "directory": directory,
        "image": image.Image(Path("/image")),
        "accelerator": "tcg",
        "ssh_port": 22001,
        "nics": {1: (Path("/lab/lan.sw"), Path("/lab/lan.director1.port"))},
        "macs": {1: "52:54:00:4c:01:02"},
        **changes,
    }
    return qemu.Machine(**values)  # type: ignore[arg-type]


def values(words: list[str], option: str) -> list[str]:
    return [words[index + 1] for index, word in enumerate(words) if word == option]


def test_command_line_connects_the_cards() -> None:
    words = machine().command()
    assert values(words, "-netdev") == [
        "user,id=net0,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:22001-:22",
        "dgram,id=net1,local.type=unix,local.path=/lab/lan.director1.port,remote.type=unix,remote.path=/lab/lan.sw",
        "hubport,id=net2,hubid=2",
        "hubport,id=net3,hubid=3",
    ]
    assert "virtio-net-pci,netdev=net1,mac=52:54:00:4c:01:02,romfile=" in values(words, "-device")
    assert "-incoming" not in words


def test_restored_machine_has_the_hardware_of_the_snapshot() -> None:
    template = machine(nics={}, macs={}).command()
    node = machine().command("fd:3")
    kinds = [[value.split(",")[0] for value in values(words, "-device")] for words in (template, node)]
    assert kinds[0] == kinds[1]
    assert values(node, "-incoming") == ["fd:3"]


def test_a_machine_may_give_way() -> None:
    assert machine().command()[0] == qemu.PROGRAM
    assert machine(gives_way=True).command()[:3] == [*qemu.GIVE_WAY, qemu.PROGRAM]


def test_a_node_may_have_memory_of_its_own() -> None:
    assert values(machine().command(), "-m") == [str(qemu.MEMORY)]
    assert values(machine(memory=1024).command(), "-m") == ["1024"]


@pytest.mark.parametrize(
    ("environment", "flags", "usable", "expected"),
    [
        ({}, "flags : fpu vmx", True, "kvm"),
        ({}, "flags : fpu svm", True, "kvm"),
        ({}, "flags : fpu svme", True, "tcg"),
        ({}, "flags : fpu vmx", False, "tcg"),
        ({"L4LB_LAB_ACCEL": "tcg"}, "flags : fpu vmx", True, "tcg"),
        ({"L4LB_LAB_ACCEL": "kvm"}, "flags : fpu", False, "kvm"),
    ],
)
def test_accelerator(environment: dict[str, str], flags: str, usable: bool, expected: str) -> None:
    assert qemu.accelerator(environment, flags, usable) == expected


def test_unknown_accelerator_is_refused() -> None:
    with pytest.raises(LabError, match="L4LB_LAB_ACCEL: must be one of tcg, kvm"):
        qemu.accelerator({"L4LB_LAB_ACCEL": "hax"}, "", True)


def test_process_of_a_reused_number_is_not_ours(tmp_path: Path) -> None:
    pid_file = tmp_path / "node.pid"
    assert qemu.process_of(pid_file) is None
    pid_file.write_text(str(os.getpid()))
    assert qemu.process_of(pid_file) is None
    with subprocess.Popen([sys.executable, "-c", "input()", str(tmp_path)], stdin=subprocess.PIPE) as process:
        pid_file.write_text(str(process.pid))
        wait_for(lambda: qemu.process_of(pid_file) == process.pid, 10, "the process is not recognised")
        process.communicate()
    assert qemu.process_of(pid_file) is None


# a busy host

SPIN = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"


def test_a_process_that_waits_for_a_processor_is_known() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", SPIN]) as first,
        subprocess.Popen([sys.executable, "-c", SPIN]) as second,
    ):
        try:
            wait_for(lambda: waited(first.pid) > 0.2 and waited(second.pid) > 0.2, 60, "nothing waits")
        finally:
            first.kill()
            second.kill()
    assert waited(first.pid) == 0.0


class Clock:
    """A host whose time passes only where it is waited for, nine tenths of it without a processor."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def waited(self, dummy: int) -> float:
        return 0.9 * self.now


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(common, "time", clock)
    monkeypatch.setattr(common, "waited", clock.waited)
    return clock


@pytest.mark.parametrize(
    ("pid", "seconds", "excuse"),
    [(None, 60, ""), (7, 600, r" \(it could not run in 540\.\d of 600\.\d s: this host is busy, load .* processors\)")],
)
def test_what_a_process_waited_for_a_processor_does_not_count(
    busy: Clock, pid: int | None, seconds: float, excuse: str
) -> None:
    with pytest.raises(LabError, match=f"^it does not end{excuse}$"):
        wait_for(lambda: False, 60, "it does not end", pid=pid)
    assert busy.now == pytest.approx(seconds, abs=0.3)


def test_a_busy_host_is_reported_while_it_is_waited_for(busy: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    patience = Patience(7, 10, "director1")
    while patience.left() > 0:
        busy.sleep(1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("director1: still waiting (it could not run in 27.0 of 30.0 s: this host is busy, load ")


@contextmanager
def answering(directory: Path, seconds: float | None) -> Iterator[qemu.Machine]:
    """A machine whose serial line answers a script after so many seconds, or never."""
    node = machine(directory)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(node.agent))
        listener.listen()

        def answer() -> None:
            connection = listener.accept()[0]
            with connection:
                connection.recv(1000)
                if seconds is None:
                    connection.recv(1000)  # until the other side gives up
                    return
                time.sleep(seconds)
                connection.sendall(b"0 ZG9uZQ==\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield node
        thread.join()


def test_a_script_on_a_busy_host_has_time_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic()
    monkeypatch.setattr(common, "waited", lambda dummy: 0.99 * (time.monotonic() - begin))
    monkeypatch.setattr(common, "REPORT_SECONDS", 0.1)
    monkeypatch.setattr(qemu, "SCRIPT_SECONDS", 0.3)
    monkeypatch.setattr(qemu, "process_of", lambda dummy: 7)
    with answering(tmp_path, 0.8) as node, qemu.Agent(node) as agent:
        assert agent.run("true") == "done"
    assert "director1: the end of a script: still waiting (it could not run in" in capsys.readouterr().err


def test_a_script_that_does_not_end_on_a_quiet_host_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "SCRIPT_SECONDS", 0.2)
    with (
        pytest.raises(LabError, match=r"^director1: no sign of the end of a script; its console is in .*console$"),
        answering(tmp_path, None) as node,
        qemu.Agent(node) as agent,
    ):
        agent.run("true")


def test_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(LabError) as caught:
        image.require_programs(lambda name: name not in ("qemu-img", "ssh-keygen"))
    assert "The lab needs qemu-img, ssh-keygen." in str(caught.value)
    assert str(caught.value).endswith("apt-get install --no-install-recommends openssh-client qemu-utils")


def test_a_missing_file_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Ubuntu, where mmdebstrap has nothing to prove Debian's packages by."""
    [keyring] = [name for name in image.HOST_PROGRAMS if name.startswith("/")]
    assert image._find(__file__)
    assert not image._find(f"{__file__}.gone")
    with pytest.raises(LabError) as caught:
        image.require_programs(lambda name: name != keyring)
    assert f"The lab needs {keyring}." in str(caught.value)
    assert str(caught.value).endswith("apt-get install --no-install-recommends debian-archive-keyring")


def test_recipe_hash_follows_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "NODE_FILES", tmp_path)
    hashes = {image.recipe_hash()}
    for content in ("one", "two"):
        (tmp_path / "file").write_text(content)
        hashes.add(image.recipe_hash())
    assert len(hashes) == 3


def test_snapshot_hash_follows_what_a_state_depends_on() -> None:
    one, two = image.Image(Path("/cache/image-1")), image.Image(Path("/cache/image-2"))
    hashes = {
        snapshot_hash(one, "tcg", "7.2"),
        snapshot_hash(two, "tcg", "7.2"),
        snapshot_hash(one, "kvm", "7.2"),
        snapshot_hash(one, "tcg", "8.0"),
    }
    assert len(hashes) == 4


def test_sources_are_those_of_the_host_for_the_release_of_the_image() -> None:
    targets = """\
http://deb.example/debian/ bookworm main
http://deb.example/debian/ bookworm main
http://deb.example/debian/ bookworm-backports main
http://deb.example/debian/ trixie main
http://deb.example/debian-security/ bookworm-security main
http://other.example/ nodistro main
"""
    assert image.apt_sources(targets) == [
        "deb http://deb.example/debian/ bookworm main",
        "deb http://deb.example/debian-security/ bookworm-security main",
    ]


def test_modules_are_loaded_after_what_they_need() -> None:
    text = """\
kernel/a/virtio_pci.ko: kernel/a/modern.ko kernel/a/ring.ko
kernel/a/ring.ko:
kernel/a/modern.ko: kernel/a/ring.ko
kernel/b/virtio-blk.ko.xz: kernel/a/ring.ko
"""
    assert image.module_files(text, ("virtio_pci", "virtio_blk", "ext4")) == [
        "kernel/a/ring.ko",
        "kernel/a/modern.ko",
        "kernel/a/virtio_pci.ko",
        "kernel/b/virtio-blk.ko.xz",
    ]


def test_overlay_belongs_to_root_and_keeps_secrets(tmp_path: Path) -> None:
    for name in ("key", "host_key"):
        (tmp_path / name).write_text("private\n")
        (tmp_path / f"{name}.pub").write_text("public\n")
    image.write_overlay(tmp_path / "overlay.tar", tmp_path / "key", tmp_path / "host_key")
    with tarfile.open(tmp_path / "overlay.tar") as tar:
        members = {member.name: member for member in tar.getmembers()}
        accepted = tar.extractfile("root/.ssh/authorized_keys")
        assert accepted is not None
        assert accepted.read() == b"public\n"
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert members["usr/local/bin/l4lb-load"].mode == 0o755
    assert members["etc/systemd/system/getty@tty1.service"].linkname == "/dev/null"
    for unit in image.ENABLED_UNITS:
        target = members[f"etc/systemd/system/multi-user.target.wants/{unit}"].linkname
        assert target.lstrip("/") in members


def test_lock_excludes_others_and_leaves_no_file(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    with locked(directory):
        assert list(directory.iterdir()) == []
        other = os.open(directory, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        directory.rmdir()
    with locked(directory):
        assert directory.is_dir()


def test_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "runtime"
    make_private(directory)
    directory.chmod(0o755)
    with pytest.raises(LabError, match="not a private directory"):
        make_private(directory)


def test_ports_that_are_taken_are_left_out() -> None:
    with socket.socket() as listener:
        first = ports.free(1)[0]
        listener.bind(("127.0.0.1", first))
        listener.listen()
        second, third = ports.free(2)
        assert first < second < third
        assert second not in ports.free(2, {second})


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["status", "--name", "no-such-lab"], "The lab 'no-such-lab' is not up: start it with `up`"),
        (["status", "--name", "../x"], "--name: must be 1 to 15 characters"),
        (["up", "--topology", "/nowhere.yml"], "/nowhere.yml: No such file or directory"),
        (["capture", "lan", "start"], "`start` takes a FILE"),
    ],
)
def test_mistake_is_told_in_one_line(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 1
    assert error in capsys.readouterr().err
