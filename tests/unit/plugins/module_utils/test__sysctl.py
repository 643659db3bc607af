# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, values and the boot order of sysctl.d, without a host; and the host's files, under a root of the test's own."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import _sysctl
from plugins.module_utils._errors import BadValue, Findings, IpvsError
from plugins.module_utils._sysctl import Dropin, Host


def parse(values: object) -> tuple[list[_sysctl.Setting], list[str]]:
    findings = Findings()
    settings = _sysctl.parse_settings(values, findings)
    return settings, [str(problem) for problem in findings.problems]


def one(key: str, value: object) -> _sysctl.Setting:
    settings, problems = parse({key: value})
    assert problems == []
    return settings[0]


@pytest.mark.parametrize(
    ("written", "path", "name"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net.ipv4.conf.eth0/100.arp_ignore", "net/ipv4/conf/eth0.100/arp_ignore", "net.ipv4.conf.eth0/100.arp_ignore"),
        ("net/ipv4/conf/eth0.100/arp_ignore", "net/ipv4/conf/eth0.100/arp_ignore", "net.ipv4.conf.eth0/100.arp_ignore"),
        ("net.ipv6.conf.all.forwarding", "net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
    ],
)
def test_a_key_has_one_path_and_one_name_however_it_is_written(written: str, path: str, name: str) -> None:
    setting = one(written, 1)
    assert (setting.path, setting.name) == (path, name)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("kernel.panic", "unknown key; this module sets only"),
        ("net.ipv4.tcp_syncookies", "unknown key; this module sets only"),
        ("net/ipv4/../../kernel/panic", "unknown key"),
        ("/proc/sys/net/ipv4/ip_forward", "unknown key"),
        ("net.ipv4.conf.*.rp_filter", "the interface of the key must be an interface name"),
        ("net/ipv4/conf/../rp_filter", "the interface of the key must be an interface name"),
        ("net/ipv4/conf/-x/rp_filter", "the interface of the key must be an interface name"),
        ("net/ipv4/conf/et h0/rp_filter", "the interface of the key must be an interface name"),
        ("net/ipv4/conf/abcdefghijklmnop/rp_filter", "the interface of the key must be an interface name"),
        (
            "net.ipv4.conf.eth0.100.rp_filter",
            "unknown key; write the dots of an interface as slashes: net.ipv4.conf.eth0/100.rp_filter",
        ),
        ("net.ipv4.vs.contrack", "unknown key; did you mean net.ipv4.vs.conntrack?"),
        ("net.ipv4.conf.eth0.arp_ingore", "unknown key; did you mean net.ipv4.conf.eth0.arp_ignore?"),
        ("net.ipv4.ip_forward\n", "key invalid character at offset 19"),
        ("net.ipv4.ip_forward\u202e", "key invalid character at offset 19"),
        ("", "key must not be empty"),
        (" net.ipv4.ip_forward", "key must not begin or end with a blank"),
        ("{{ key }}", "key looks like an unrendered template"),
        ("x" * 1_000_000, "key must have at most 4096 characters"),
    ],
)
def test_only_listed_keys_are_taken(key: str, rule: str) -> None:
    settings, problems = parse({key: 1})
    assert settings == []
    assert len(problems) == 1
    assert problems[0].startswith(f"values: {rule}")
    assert len(problems[0]) < 300


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("net.ipv4.ip_forward", "1\nkernel.panic = 1", "invalid character at offset 1"),
        ("net.ipv4.ip_forward", None, "must not be empty"),
        ("net.ipv4.ip_forward", "", "must not be empty"),
        ("net.ipv4.ip_forward", True, "must be a decimal integer 0..1 (got True)"),
        ("net.ipv4.ip_forward", 1.0, "must be a decimal integer 0..1 (got 1.0)"),
        ("net.ipv4.ip_forward", "1e0", "must be a decimal integer"),
        ("net.ipv4.ip_forward", "0x1", "must be a decimal integer"),
        ("net.ipv4.ip_forward", "01", "must be a decimal integer"),
        ("net.ipv4.ip_forward", "\uff11", "must be a decimal integer"),
        ("net.ipv4.ip_forward", " 1", "must not begin or end with a blank"),
        ("net.ipv4.ip_forward", "{{ on }}", "looks like an unrendered template"),
        ("net.ipv4.ip_forward", [1], "must be a decimal integer"),
        ("net.ipv4.ip_forward", {"a": 1}, "must be a decimal integer"),
        ("net.ipv4.ip_forward", 2, "must be an integer 0..1 (got 2)"),
        ("net.ipv4.ip_forward", -1, "must be an integer 0..1 (got -1)"),
        ("net.ipv4.ip_forward", 10**20, "must be an integer 0..1"),
        ("net.ipv4.ip_forward", "9" * 10_000, "must have at most 4096 characters"),
        ("net.ipv4.conf.all.arp_ignore", 9, "must be an integer 0..8 (got 9)"),
        ("net.ipv4.conf.all.arp_ignore", 5, "must be one of 0, 1, 2, 3, 8 (got 5)"),
        ("net.ipv4.conf.all.arp_announce", 3, "must be an integer 0..2 (got 3)"),
        ("net.ipv4.conf.all.rp_filter", 3, "must be an integer 0..2 (got 3)"),
        ("net.ipv4.vs.drop_entry", 4, "must be an integer 0..3 (got 4)"),
        ("net.ipv4.vs.sync_ports", 3, "must be one of 1, 2, 4, 8, 16, 32, 64 (got 3)"),
        ("net.ipv4.vs.sync_ports", 128, "must be an integer 1..64 (got 128)"),
        ("net.ipv4.vs.conntrack", 7, "must be an integer 0..1 (got 7)"),
        ("net.ipv4.vs.est_nice", -21, "must be an integer -20..19 (got -21)"),
        ("net.ipv4.vs.sync_threshold", "3", "must be two integers, the first less than the second"),
        ("net.ipv4.vs.sync_threshold", 3, "must be two integers, the first less than the second"),
        ("net.ipv4.vs.sync_threshold", "50 3", "must be two integers, the first less than the second"),
        ("net.ipv4.vs.sync_threshold", "3 3", "must be two integers, the first less than the second"),
        ("net.ipv4.vs.sync_threshold", "3 50 7", "must be two integers, the first less than the second"),
        ("net.ipv4.vs.sync_threshold", "3 0x10", "must be a decimal integer 0..2147483647"),
        ("net.ipv4.vs.sync_threshold", "3\n50", "invalid character at offset 1"),
        ("net.ipv4.vs.est_cpulist", "3-1", "must be a list of processors"),
        ("net.ipv4.vs.est_cpulist", "0,,1", "must be a list of processors"),
        ("net.ipv4.vs.est_cpulist", "0-9999", "must be a list of processors"),
        ("net.ipv4.vs.est_cpulist", 0, "must be a string"),
        ("net.ipv4.vs.est_cpulist", "0," * 500_000, "must have at most 4095 characters"),
    ],
)
def test_bad_values_are_told_by_key_rule_and_value(key: str, value: object, rule: str) -> None:
    settings, problems = parse({key: value})
    assert settings == []
    assert len(problems) == 1
    assert problems[0].startswith(f"values[{key}]: {rule}")
    assert len(problems[0]) < 300


@pytest.mark.parametrize("values", [None, "net.ipv4.ip_forward=1", ["net.ipv4.ip_forward"], 1, [[]]])
def test_values_must_be_a_dict(values: object) -> None:
    settings, problems = parse(values)
    assert settings == []
    assert problems[0].startswith("values: must be a dict of keys and values")


def test_the_number_of_keys_is_limited() -> None:
    settings, problems = parse({f"net.ipv4.conf.eth{number}.rp_filter": 1 for number in range(1001)})
    assert (settings, problems) == ([], ["values: must have at most 1000 keys (has 1001)"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"),
        ("net.ipv4.conf.all.forwarding", "net.ipv4.ip_forward"),
    ],
)
def test_one_variable_is_set_once(first: str, second: str) -> None:
    dummy, problems = parse({first: 1, second: 0})
    path = _sysctl.dotted(_sysctl.proc_path(second))
    assert problems == [f"values[{path}]: duplicate: sets the same variable as {first}"]


@pytest.mark.parametrize(
    "values",
    [
        {"net.ipv4.conf.tunl0.rp_filter": 1},
        {"net.ipv4.conf.gre0.rp_filter": 1},
        {"net.ipv4.conf.ip6tnl0.rp_filter": 1},
        {"net.ipv4.conf.tunl0.rp_filter": 0, "net.ipv4.conf.all.rp_filter": 1},
    ],
)
def test_a_tunnel_of_ipvs_refuses_the_strict_reverse_path_filter(values: dict[str, int]) -> None:
    dummy, problems = parse(values)
    assert len(problems) == 1
    assert "must be 0, or 2 with the VIP on the device: 1 drops tunnelled traffic" in problems[0]


@pytest.mark.parametrize(
    "values",
    [
        {"net.ipv4.conf.tunl0.rp_filter": 0},
        {"net.ipv4.conf.tunl0.rp_filter": 2, "net.ipv4.conf.all.rp_filter": 1},
        {"net.ipv4.conf.all.rp_filter": 1},
        {"net.ipv4.conf.eth0.rp_filter": 1},
    ],
)
def test_other_reverse_path_filters_are_taken(values: dict[str, int]) -> None:
    assert parse(values)[1] == []


@pytest.mark.parametrize(
    ("key", "value", "found", "equal"),
    [
        ("net.ipv4.vs.sync_threshold", "3 50", "3\t50", True),
        ("net.ipv4.vs.sync_threshold", "3\t50", "3\t50", True),
        ("net.ipv4.vs.sync_threshold", "3  50", "3\t50", True),
        ("net.ipv4.vs.sync_threshold", "3 0", "3\t0", True),
        ("net.ipv4.vs.sync_threshold", "3 50", "3\t5", False),
        ("net.ipv4.vs.drop_entry", 1, "2", True),
        ("net.ipv4.vs.drop_entry", 2, "1", True),
        ("net.ipv4.vs.drop_packet", 1, "2", True),
        ("net.ipv4.vs.secure_tcp", "2", "1", True),
        ("net.ipv4.vs.drop_entry", 1, "0", False),
        ("net.ipv4.vs.drop_entry", 3, "2", False),
        ("net.ipv4.vs.sync_ports", 1, "2", False),
        ("net.ipv4.vs.est_cpulist", "1,0,2,8-9,9", "0-2,8-9", True),
        ("net.ipv4.vs.est_cpulist", "", "", True),
        ("net.ipv4.vs.est_cpulist", "", "0-3", False),
        ("net.ipv4.vs.est_nice", "-20", "-20", True),
        ("net.ipv4.ip_forward", 1, None, False),
    ],
)
def test_values_are_compared_as_the_kernel_holds_them(key: str, value: object, found: str, equal: bool) -> None:
    assert one(key, value).holds(found) is equal


def test_forwarding_is_written_first_then_all_default_and_devices() -> None:
    settings, dummy = parse(
        {
            "net.ipv4.conf.eth0.rp_filter": 1,
            "net.ipv4.conf.eth0.forwarding": 0,
            "net.ipv4.conf.default.rp_filter": 1,
            "net.ipv4.conf.all.rp_filter": 1,
            "net.ipv6.conf.default.forwarding": 0,
            "net.ipv6.conf.all.forwarding": 1,
            "net.ipv4.ip_forward": 1,
        }
    )
    assert [setting.name for setting in settings] == [
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.default.forwarding",
        "net.ipv4.conf.eth0.forwarding",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.default.rp_filter",
        "net.ipv4.conf.eth0.rp_filter",
    ]


def test_accept_ra_is_written_before_the_forwarding_that_would_cost_the_routes_learned() -> None:
    settings, dummy = parse(
        {
            "net.ipv6.conf.all.forwarding": 1,
            "net.ipv6.conf.eth0.forwarding": 1,
            "net.ipv6.conf.default.accept_ra": 2,
            "net.ipv6.conf.eth0.accept_ra": 2,
        }
    )
    assert [setting.name for setting in settings] == [
        "net.ipv6.conf.default.accept_ra",
        "net.ipv6.conf.eth0.accept_ra",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.eth0.forwarding",
    ]


@pytest.mark.parametrize("name", ["l4lb-ipvs", "a", "A_1", "x" * 64])
def test_the_name_of_a_dropin(name: str) -> None:
    findings = Findings()
    assert _sysctl.parse_name(name, findings) == f"etc/sysctl.d/99-zz-{name}.conf"
    assert findings.problems == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", "-a", "x" * 65, "a b", "a\n", "{{ a }}", "\u00e9", None, 7])
def test_the_name_of_a_dropin_is_no_path(name: object) -> None:
    findings = Findings()
    _sysctl.parse_name(name, findings)
    assert len(findings.problems) == 1
    assert str(findings.problems[0].path) == "name"


def test_lines_leave_a_dropin_and_with_the_last_the_file() -> None:
    content = f"{_sysctl.HEADER}net.ipv4.ip_forward = 1\n# mine\nnet.ipv4.vs.conntrack = 1\n"
    rest = _sysctl.without(content, ["net/ipv4/ip_forward"])
    assert rest == f"{_sysctl.HEADER}# mine\nnet.ipv4.vs.conntrack = 1\n"
    assert _sysctl.without(rest, ["net/ipv4/ip_forward"]) == rest
    assert _sysctl.without(rest, ["net/ipv4/vs/conntrack"]) is None


DROPIN = "etc/sysctl.d/99-zz-x.conf"


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_dropin_is_replaced_as_a_whole_with_its_mode(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        with Host(str(tmp_path)).replacing(Dropin(DROPIN, None, "new\n")):
            assert (tmp_path / DROPIN).read_text() == "new\n"
    finally:
        os.umask(old)
    assert (tmp_path / DROPIN).read_text() == "new\n"
    assert stat.S_IMODE((tmp_path / DROPIN).stat().st_mode) == 0o644
    assert os.listdir(tmp_path / "etc/sysctl.d") == ["99-zz-x.conf"]


@pytest.mark.parametrize("before", ["old\n", None])
def test_a_failure_leaves_the_old_dropin_and_nothing_beside_it(tmp_path: Path, before: str | None) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    if before is not None:
        (tmp_path / DROPIN).write_text(before)
    with pytest.raises(BadValue), Host(str(tmp_path)).replacing(Dropin(DROPIN, before, "new\n")):
        raise BadValue("the kernel said no")
    held = {path.name: path.read_text() for path in (tmp_path / "etc/sysctl.d").iterdir()}
    assert held == ({} if before is None else {"99-zz-x.conf": before})


def test_a_draft_that_a_killed_run_left_is_replaced_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    os.symlink(tmp_path / "precious", tmp_path / "etc/sysctl.d/.99-zz-x.conf.new")
    with Host(str(tmp_path)).replacing(Dropin(DROPIN, None, "new\n")):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / DROPIN).is_symlink()
    assert (tmp_path / DROPIN).read_text() == "new\n"


def test_a_file_system_without_space_is_found_before_the_block(tmp_path: Path, monkeypatch: Any) -> None:
    def full(dummy: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    reached = False
    rule = "/etc/sysctl.d/99-zz-x.conf: cannot be written: No space left on device"
    with pytest.raises(IpvsError, match=rule), Host(str(tmp_path)).replacing(Dropin(DROPIN, None, "new\n")):
        reached = True
    assert not reached
    assert os.listdir(tmp_path / "etc/sysctl.d") == []


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_a_dropin_must_be_a_plain_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    if kind == "symlink":
        os.symlink("/dev/null", tmp_path / DROPIN)
    else:
        (tmp_path / DROPIN).mkdir()
    with pytest.raises(IpvsError, match="must be a plain file"):
        Host(str(tmp_path)).own(DROPIN)


def test_a_written_value_ends_its_line_and_makes_no_key(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/net").mkdir(parents=True)
    (tmp_path / "proc/sys/net/key").write_text("something longer\n")
    host = Host(str(tmp_path))
    host.write("net/key", "1")
    assert (tmp_path / "proc/sys/net/key").read_text() == "1\n"
    assert host.read("net/key") == "1"
    assert host.read("net/other") is None
    with pytest.raises(FileNotFoundError):
        host.write("net/other", "1")
