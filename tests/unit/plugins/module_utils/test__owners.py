# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else holds the IPVS table of this network namespace to a plan."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plugins.module_utils import _module, _owners
from plugins.module_utils._owners import KEEPALIVED, owners
from tests.unit.conftest import start_keepalived

SERVER = "  virtual_server 192.0.2.10 80 {\n}\n"


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The processes of a host, on which none runs but this one, in a network namespace of its own."""
    (tmp_path / "proc" / "self" / "ns").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "ns" / "net").touch()
    (tmp_path / "netns").mkdir()
    monkeypatch.setattr(_owners, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(_module, "NETNS_DIR", str(tmp_path / "netns"))
    monkeypatch.setattr(_owners.socket, "if_nameindex", lambda: [(1, "lo")])
    return tmp_path / "proc"


def named(*paths: str) -> list[str]:
    return [f"keepalived (virtual_server in {path})" for path in paths]


def test_kube_proxy_is_known_by_its_device(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owners() == []
    monkeypatch.setattr(_owners.socket, "if_nameindex", lambda: [(1, "lo"), (2, "kube-ipvs0")])
    assert owners() == ["kube-proxy (device kube-ipvs0)"]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (SERVER, True),
        ("global_defs {}\n@here virtual_server fwmark 7 {\n}\n", True),
        ("virtual_server_group web {\n}\n", True),
        ("vrrp_instance one {\n}\n# virtual_server 192.0.2.10 80 {\n", False),
        ("! virtual_server none\nvirtual_servers\n", False),
        ("net_namespace_ipvs \0\ninclude /etc/\0x/*\n@a\0 virtual_server\nvirtual_server a\0b {\n", True),
        ("\0virtual_server 192.0.2.10 80 {\n", False),
    ],
)
def test_a_keepalived_has_virtual_servers(proc: Path, text: str, counts: bool) -> None:
    start_keepalived(proc, {KEEPALIVED: text})
    assert owners() == (named(KEEPALIVED) if counts else [])


@pytest.mark.parametrize(
    ("program", "users", "counts"),
    [
        ("/usr/sbin/keepalived", "0\t0", True),
        ("/usr/sbin/keepalived (deleted)", "0\t0", True),
        ("/usr/sbin/keepalived", "1000\t1000", False),
        ("/usr/sbin/keepalived", "1000\t0", False),
        ("/usr/sbin/keepalived", "0\t1000", False),
        ("/usr/bin/sudo", "0\t0", False),
        ("/home/keepalived/sh", "0\t0", False),
        (None, "0\t0", False),
    ],
)
def test_a_keepalived_is_the_program_that_root_runs(proc: Path, program: str | None, users: str, counts: bool) -> None:
    """A name and arguments are what any user may give to a process."""
    process = start_keepalived(proc, {KEEPALIVED: SERVER})
    (proc / "78").mkdir()
    (process / "comm").write_text("keepalived\n")
    (process / "status").write_text(f"Name:\tkeepalived\nUid:\t{users}\t0\t0\n")
    (process / "exe").unlink()
    if program:
        (process / "exe").symlink_to(program)
    assert owners() == (named(KEEPALIVED) if counts else [])


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ("", [KEEPALIVED]),
        ("-n -D", [KEEPALIVED]),
        ("-p /run/f -iconf -n", [KEEPALIVED]),
        ("-f /opt/lb.conf", ["/opt/lb.conf"]),
        ("-f/opt/lb.conf", ["/opt/lb.conf"]),
        ("-nlDf /opt/lb.conf", ["/opt/lb.conf"]),
        ("-P --use-file=/opt/lb.conf -n", ["/opt/lb.conf"]),
        ("--use-file /opt/lb.conf", ["/opt/lb.conf"]),
        ("-f /opt/lb.conf -f /opt/more", ["/opt/more"]),
        ("-f /opt/*", ["/opt/lb.conf", "/opt/more"]),
        ("-f /opt/none", []),
        ("-f lb.conf", ["/srv/lb.conf"]),
        ("-f ../opt/lb.conf", ["/srv/../opt/lb.conf"]),
    ],
)
def test_a_keepalived_counts_by_the_file_it_was_started_with(proc: Path, arguments: str, files: list[str]) -> None:
    paths = [KEEPALIVED, "/etc/keepalived/stray.conf", "/opt/lb.conf", "/opt/more", "/srv/lb.conf"]
    process = start_keepalived(proc, dict.fromkeys(paths, SERVER), *arguments.split())
    (process / "cwd").symlink_to("/srv")
    assert owners() == named(*files)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("include /opt/web", "/opt/web"),
        ("include /opt/*", "/opt/web"),
        ("\tinclude web.conf  # more", "/etc/keepalived/web.conf"),
        ("include conf.d/*.cfg", "/etc/keepalived/conf.d/web.cfg"),
        ("include conf.d/{db,web}.cfg", "/etc/keepalived/conf.d/web.cfg"),
        *((f"include{check} web.conf", "/etc/keepalived/web.conf") for check in "rmwba"),
        ("@here include web.conf", "/etc/keepalived/web.conf"),
        ("# include /opt/web", None),
        ("included /opt/web", None),
        ("include /opt/none", None),
        ("include /opt", None),
    ],
)
def test_what_a_file_includes_counts(proc: Path, line: str, file: str | None) -> None:
    paths = ["/opt/web", "/etc/keepalived/web.conf", "/etc/keepalived/conf.d/web.cfg"]
    start_keepalived(proc, {**dict.fromkeys(paths, SERVER), KEEPALIVED: f"global_defs {{\n}}\n{line}\n"})
    assert owners() == (named(file) if file else [])


def test_an_include_is_relative_to_the_file_it_stands_in(proc: Path) -> None:
    files = {KEEPALIVED: "include sites/web\n", "/etc/keepalived/sites/web": "include 80\n"}
    start_keepalived(proc, {**files, "/etc/keepalived/sites/80": SERVER, "/etc/keepalived/80": SERVER})
    assert owners() == named("/etc/keepalived/sites/80")


def test_files_that_include_each_other_end(proc: Path) -> None:
    start_keepalived(proc, {KEEPALIVED: f"include *\n{SERVER}", "/etc/keepalived/web": "include ../keepalived/*\n"})
    assert named(KEEPALIVED)[0] in owners()


NAMESPACES = {"here": "proc/self/ns/net", "its own": "proc/77/ns/net", "init": "proc/1/ns/net", "blue": "netns/blue"}


@pytest.mark.parametrize(
    ("line", "here", "counts"),
    [
        ("", "its own", True),
        ("", "init", False),
        ("net_namespace_ipvs blue", "blue", True),
        ("net_namespace_ipvs blue  # the service's", "its own", False),
        ("net_namespace_ipvs", "init", True),
        ("net_namespace_ipvs", "its own", False),
        ("net_namespace blue", "its own", True),
        ("# net_namespace_ipvs blue", "its own", True),
        ("net_namespace_ipvs gone", "init", True),
    ],
)
def test_a_keepalived_counts_in_the_network_namespace_whose_table_it_writes(
    proc: Path, line: str, here: str, counts: bool
) -> None:
    start_keepalived(proc, {KEEPALIVED: f"{line}\n{SERVER}"})
    for path in NAMESPACES.values():
        place = proc.parent / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.touch()
    (proc / "self" / "ns" / "net").unlink()
    os.link(proc.parent / NAMESPACES[here], proc / "self" / "ns" / "net")
    assert owners() == (named(KEEPALIVED) if counts else [])


def test_a_namespace_that_cannot_be_told_counts(proc: Path) -> None:
    start_keepalived(proc, {KEEPALIVED: SERVER})
    assert owners() == named(KEEPALIVED)


# what is read of it has limits

HUGE = "/srv/huge"


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("include /srv/many/*", True),
        (f"include {HUGE}", True),
        ("include /srv/*/*/*/*/*", True),
        ("include /srv/many/*x\ninclude /srv/many/*y", True),
        ("\n".join(f"include /srv/{number}" for number in range(2000)), True),
        ("include /srv/gone", False),
        ("include /srv/" + "{" * 100_000, False),
    ],
)
def test_more_configuration_than_is_read_counts(
    proc: Path, monkeypatch: pytest.MonkeyPatch, line: str, counts: bool
) -> None:
    monkeypatch.setattr(_owners, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(_owners, "MOST_NAMES", 1000)
    many = {f"/srv/many/{number}": "" for number in range(900)}
    start_keepalived(proc, {KEEPALIVED: f"{line}\n", **dict.fromkeys(many, "x" * 2000), HUGE: "x" * (1 << 21)})
    assert owners() == (["keepalived (with more configuration than is read)"] if counts else [])


def test_limits_are_those_of_all_processes(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_owners, "MOST_BYTES", 3 * len(SERVER))
    process = start_keepalived(proc, {KEEPALIVED: SERVER})
    for number in range(3):
        assert owners() == named(KEEPALIVED)
        shutil.copytree(process, proc / f"9{number}", symlinks=True)
    assert owners() == ["keepalived (with more configuration than is read)"]
