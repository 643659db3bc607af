# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a node are read without an effect on them, and none hangs or exhausts the run. An alarm and a limit of
memory guard each test: what blocks, or reads without end, ends in one of them.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from plugins.module_utils import _host, _module, _networkd, _owners, _sysctl_files, _vip_task
from plugins.module_utils._errors import Findings, InvalidInput, IpvsError
from plugins.module_utils._files import MOST, NotRegular, content, opened, read
from plugins.module_utils._module import enter_namespace
from plugins.module_utils._ownership import Register
from plugins.module_utils._source import load
from plugins.module_utils._sysctl import Host
from plugins.modules import ipvs_table
from tests.unit.conftest import start_keepalived


class Hung(BaseException):
    """No error that code under test catches."""


@pytest.fixture(autouse=True)
def guard() -> Iterator[None]:
    def ring(*dummy: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    signal.alarm(20)
    yield
    signal.alarm(0)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.signal(signal.SIGALRM, before)


def endless(path: Path) -> None:
    """A regular file of 1 TiB without a block on disk."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def listening(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)  # a path of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


IRREGULAR: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "socket": listening,
    "link to a fifo": lambda path: (os.mkfifo(f"{path}.fifo"), path.symlink_to(f"{path}.fifo")),
}


@pytest.fixture(params=[*IRREGULAR, "huge"])
def trap(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """trap(PATH) puts something there that must not be read."""

    def put(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        {**IRREGULAR, "huge": endless}[request.param](path)
        return path

    return put


def test_a_regular_file_is_read_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\r\n\xff")
    (tmp_path / "link").symlink_to("file")
    assert content(str(tmp_path / "link")) == "a\n\ufffd"
    assert read("/proc/self/comm").strip()


@pytest.mark.parametrize("make", IRREGULAR.values(), ids=IRREGULAR)
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "trap")
    with pytest.raises(NotRegular, match="not a regular file"):
        read(str(tmp_path / "trap"))


def test_a_fifo_is_left_alone(tmp_path: Path) -> None:
    """Opening it for reading, without waiting, would let a writer in."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotRegular), opened(str(tmp_path / "fifo")):
        pass
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_a_directory_is_none() -> None:
    with pytest.raises(IsADirectoryError):
        read("/")


def test_a_file_has_a_size_that_can_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 7)
    assert read(str(tmp_path / "file"), most=7) == "x" * 7
    for path, most in (("file", 6), ("huge", MOST)):
        endless(tmp_path / "huge")
        with pytest.raises(OSError, match="larger than") as caught:
            read(str(tmp_path / path), most)
        assert caught.value.errno == errno.EFBIG


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    os.mkfifo(tmp_path / "fifo")
    endless(tmp_path / "huge")
    before = descriptors()
    for name in ("fifo", "huge", "gone", "."):
        assert content(str(tmp_path / name)) == ""
    assert descriptors() == before


# each file that is read on a node


def test_a_list_of_services(tmp_path: Path, trap: Callable[[Path], Path], run_main: Any) -> None:
    path = trap(tmp_path / "services")
    with pytest.raises(InvalidInput, match=r"^src: cannot be read: .*(not a regular file|larger than)"):
        load(str(path), Findings())
    assert run_main(ipvs_table.main, {"src": str(path)}, check=True)["msg"].startswith("src: cannot be read")


def test_the_record_of_ownership(tmp_path: Path, trap: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_module, "STATE_DIR", str(tmp_path))
    register = Register()
    trap(Path(register.path))
    with pytest.raises(IpvsError, match=r"the ownership file .* cannot be read: (not a regular file|larger than)"):
        assert not register.owned


def test_the_files_of_sysctl(tmp_path: Path, trap: Callable[[Path], Path]) -> None:
    path = "etc/sysctl.d/50-web.conf"
    huge = trap(tmp_path / path).stat().st_size
    if huge:
        with pytest.raises(IpvsError, match=f"^/{path}: cannot be read: larger than"):
            _sysctl_files.dropins(str(tmp_path))
    else:
        assert _sysctl_files.dropins(str(tmp_path)) == {}
        with pytest.raises(IpvsError, match=f"^/{path}: must be a plain file, or none"):
            Host(str(tmp_path)).own(path)


def test_no_directory_of_sysctl(tmp_path: Path, trap: Callable[[Path], Path]) -> None:
    trap(tmp_path / "etc/sysctl.d")
    assert _sysctl_files.dropins(str(tmp_path)) == {}


def test_a_file_of_networkd(tmp_path: Path, trap: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_networkd, "ROOT", str(tmp_path))
    trap(tmp_path / "etc/systemd/networkd.conf")
    (tmp_path / _networkd.STATE).parent.mkdir(parents=True)
    (tmp_path / _networkd.STATE).touch()
    assert _networkd.options_to_switch_off() == list(_networkd.OPTIONS)


def test_a_network_namespace(tmp_path: Path, trap: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_module, "NETNS_DIR", str(tmp_path))
    trap(tmp_path / "blue")
    with pytest.raises(InvalidInput, match=r"^netns: is no network namespace: a leftover file \(got 'blue'\)$"):
        enter_namespace("blue")


def test_values_of_the_kernel(tmp_path: Path, trap: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have anything in the place of /proc."""
    monkeypatch.setattr(_host, "PROC", str(tmp_path))
    monkeypatch.setattr(_vip_task, "PROC_NET", str(tmp_path))
    trap(tmp_path / "sys" / "net/ipv4/vs/conntrack")
    trap(tmp_path / "ipv4/conf/lo/arp_ignore")
    assert _host.settings() == {}
    assert _vip_task._setting("ipv4", "lo", "arp_ignore") == -1


@pytest.mark.parametrize("how", ["started with", "included", "found"])
def test_a_file_of_keepalived(
    tmp_path: Path, trap: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(_owners, "PROC", str(tmp_path))
    arguments = ["-f", "/srv/trap"] if how == "started with" else []
    includes = {"included": "include /srv/trap\n", "found": "include /*/*\ninclude /srv/trap/*\n"}
    process = start_keepalived(tmp_path, {_owners.KEEPALIVED: includes.get(how, "")}, *arguments)
    huge = trap(process / "root/srv/trap").stat().st_size
    assert _owners.owners() == (["keepalived (with more configuration than is read)"] if huge else [])


@pytest.mark.parametrize("path", ["/proc/kmsg", "/sys/kernel/debug/tracing/trace_pipe", "/proc/self/mem"])
def test_a_file_that_the_kernel_makes_is_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It is regular by its mode, and reading some of them waits or takes what another reader wants."""
    monkeypatch.setattr(_owners, "PROC", str(tmp_path))
    monkeypatch.setattr(_owners, "read", lambda path, *dummy, **options: pytest.fail(path))
    process = start_keepalived(tmp_path, {})
    (process / "root/etc/keepalived").mkdir(parents=True)
    (process / "root" / _owners.KEEPALIVED[1:]).symlink_to(path)
    assert _owners.owners() == []


def test_a_process_is_no_keepalived_by_its_name(tmp_path: Path) -> None:
    """A real one, which names a file that waits for a writer."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "keepalived").symlink_to(str(shutil.which("tail")))
    with subprocess.Popen([tmp_path / "keepalived", "-f", tmp_path / "fifo"]) as process:
        try:
            name = Path(f"/proc/{process.pid}/comm")
            while name.read_text() != "keepalived\n":
                pass
            assert _owners.owners() == []
        finally:
            process.kill()
