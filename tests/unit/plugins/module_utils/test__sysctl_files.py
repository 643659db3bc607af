# SPDX-License-Identifier: GPL-3.0-or-later
"""What a boot makes of the files of sysctl.d."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.module_utils._sysctl_files import assignment, boot_options, boot_value, dropins, in_order


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("net.ipv4.ip_forward = 1", ("net/ipv4/ip_forward", "1")),
        ("net/ipv4/ip_forward=1", ("net/ipv4/ip_forward", "1")),
        ("  -net.ipv4.ip_forward = 1  ", ("net/ipv4/ip_forward", "1")),
        ("-net.ipv4.ip_forward", ("net/ipv4/ip_forward", None)),
        ("net.ipv4.conf.eth0/100.rp_filter=2", ("net/ipv4/conf/eth0.100/rp_filter", "2")),
        ("net/ipv4/conf/eth0.100/rp_filter=2", ("net/ipv4/conf/eth0.100/rp_filter", "2")),
        ("net.ipv4.conf.*.rp_filter = 2", ("net/ipv4/conf/*/rp_filter", "2")),
        ("net.ipv4.ip_forward = ", ("net/ipv4/ip_forward", "")),
        ("kernel.core_pattern = |/x a=b", ("kernel/core_pattern", "|/x a=b")),
        ("# net.ipv4.ip_forward = 1", None),
        ("; net.ipv4.ip_forward = 1", None),
        ("", None),
        ("net.ipv4.ip_forward", None),
    ],
)
def test_a_line_is_read_as_systemd_reads_it(line: str, told: object) -> None:
    assert assignment(line) == told


FORWARD = "net/ipv4/ip_forward"
FILTER = "net/ipv4/conf/eth0/rp_filter"


@pytest.mark.parametrize(
    ("files", "path", "result"),
    [
        ([], FORWARD, None),
        ([("a", "kernel.panic=1")], FORWARD, None),
        ([("a", "net.ipv4.ip_forward=0"), ("b", "net.ipv4.ip_forward=1")], FORWARD, ("1", "b")),
        ([("a", "net.ipv4.ip_forward=0\nnet.ipv4.ip_forward=1")], FORWARD, ("1", "a")),
        ([("a", "net.ipv4.ip_forward=1"), ("b", "net/ipv4/ip_forward=0")], FORWARD, ("0", "b")),
        # an equal value keeps its first place, so what stood between counts more, by another name
        (
            [("a", "net.ipv4.ip_forward=1"), ("b", "net.ipv4.conf.all.forwarding=0"), ("c", "net.ipv4.ip_forward=1")],
            FORWARD,
            ("0", "b"),
        ),
        # another value takes the last place
        (
            [("a", "net.ipv4.ip_forward=0"), ("b", "net.ipv4.conf.all.forwarding=0"), ("c", "net.ipv4.ip_forward=1")],
            FORWARD,
            ("1", "c"),
        ),
        ([("a", "net.ipv4.conf.all.forwarding=0"), ("b", "net.ipv4.ip_forward=1")], FORWARD, ("1", "b")),
        ([("a", "net.ipv4.ip_forward=1"), ("b", "net.ipv4.conf.*.forwarding=0")], FORWARD, ("0", "b")),
        # an assignment by name keeps globs off, wherever it stands
        ([("a", "net.ipv4.conf.eth0.rp_filter=0"), ("b", "net.ipv4.conf.*.rp_filter=2")], FILTER, ("0", "a")),
        ([("a", "net.ipv4.conf.*.rp_filter=2"), ("b", "net.ipv4.conf.e*.rp_filter=1")], FILTER, ("1", "b")),
        ([("a", "net.ipv4.conf.*.rp_filter=2\n-net.ipv4.conf.eth0.rp_filter")], FILTER, (None, "a")),
        ([("a", "net.ipv4.*.rp_filter=2")], FILTER, None),
        ([("a", "net.ipv4.ip_forward=1"), ("b", "-net.ipv4.ip_forward")], FORWARD, (None, "b")),
        (
            [("a", "net.nf_conntrack_max=5"), ("b", "net.netfilter.nf_conntrack_max=6")],
            "net/netfilter/nf_conntrack_max",
            ("6", "b"),
        ),
        (
            [("a", "net.netfilter.nf_conntrack_max=6"), ("b", "net.nf_conntrack_max=5")],
            "net/netfilter/nf_conntrack_max",
            ("5", "b"),
        ),
    ],
)
def test_the_boot_order(files: list[tuple[str, str]], path: str, result: object) -> None:
    assert boot_value(boot_options(files), path) == result


def test_files_are_masked_by_name_and_hidden_ones_ignored(tmp_path: Path) -> None:
    def put(path: str, content: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)

    put("usr/lib/sysctl.d/50-a.conf", "vendor")
    put("usr/local/lib/sysctl.d/50-a.conf", "local")
    put("run/sysctl.d/50-a.conf", "run")
    put("lib/sysctl.d/60-b.conf", "b")
    put("usr/lib/sysctl.d/70-c.conf", "c")
    put("etc/sysctl.d/README", "no")
    put("etc/sysctl.d/.hidden.conf", "no")
    put("etc/sysctl.conf", "legacy")
    os.symlink("/dev/null", tmp_path / "etc/sysctl.d/70-c.conf")
    os.symlink("../sysctl.conf", tmp_path / "etc/sysctl.d/99-sysctl.conf")
    os.symlink("nowhere", tmp_path / "etc/sysctl.d/98-dangling.conf")
    (tmp_path / "etc/sysctl.d/97-directory.conf").mkdir()
    assert dropins(str(tmp_path)) == {
        "run/sysctl.d/50-a.conf": "run",
        "lib/sysctl.d/60-b.conf": "b",
        "etc/sysctl.d/99-sysctl.conf": "legacy",
    }


def test_files_are_read_in_the_order_of_their_names() -> None:
    files = {"etc/sysctl.d/60-b.conf": "b", "usr/lib/sysctl.d/50-a.conf": "a", "run/sysctl.d/70-c.conf": "c"}
    assert [content for dummy, content in in_order(files)] == ["a", "b", "c"]
