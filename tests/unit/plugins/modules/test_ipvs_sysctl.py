# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_sysctl on a host of files: what a run writes, in which order, what it predicts and what it refuses."""

from __future__ import annotations

import errno
import functools
import os
import re
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml

from plugins.module_utils import _kernel, _sysctl
from plugins.module_utils._errors import Findings
from plugins.module_utils._module import ASSUME_PREPARED
from plugins.modules import ipvs_sysctl

DROPIN = "etc/sysctl.d/99-zz-l4lb-ipvs.conf"
FORWARD = "net.ipv4.ip_forward"
CONNTRACK = "net.ipv4.vs.conntrack"

LIVE = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/accept_redirects": "1",
    "net/ipv4/conf/all/arp_ignore": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "1",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/eth0/rp_filter": "0",
    "net/ipv4/conf/eth0/send_redirects": "1",
    "net/ipv4/conf/eth0.100/arp_ignore": "0",
    "net/ipv6/conf/all/accept_redirects": "1",
    "net/ipv6/conf/all/forwarding": "0",
    "net/netfilter/nf_conntrack_max": "65536",
    "net/ipv4/vs/conntrack": "0",
    "net/ipv4/vs/drop_entry": "2",
    "net/ipv4/vs/sync_ports": "1",
    "net/ipv4/vs/sync_threshold": "3\t50",
}


class FakeHost(_sysctl.Host):
    """A host whose kernel resets what forwarding resets, and restores or refuses what the test says."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.written: list[tuple[str, str]] = []
        self.restores: set[str] = set()
        self.refuses: dict[str, int] = {}
        for path, value in LIVE.items():
            self.put(f"proc/sys/{path}", f"{value}\n")

    def put(self, path: str, content: str) -> None:
        full = Path(self.root, path)
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(content)

    def take(self, path: str) -> None:
        """Remove a file, and the directories that it leaves empty."""
        full = Path(self.root, path)
        full.unlink()
        while not os.listdir(full.parent):
            full = full.parent
            full.rmdir()

    def file(self, path: str = DROPIN) -> str | None:
        full = Path(self.root, path)
        return full.read_text() if full.exists() else None

    def write(self, path: str, value: str) -> None:
        self.written.append((path, value))
        if path in self.refuses:
            raise OSError(self.refuses[path], os.strerror(self.refuses[path]))
        if path in self.restores:
            return
        super().write(path, value)
        if path == "net/ipv4/ip_forward":
            super().write("net/ipv4/conf/all/accept_redirects", str(1 - int(value)))
        if path == "net/ipv4/conf/default/rp_filter":
            super().write("net/ipv4/conf/eth0/rp_filter", value)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = FakeHost(tmp_path / "root")
    monkeypatch.setattr(ipvs_sysctl, "body", functools.partial(_sysctl.body, host=fake))
    monkeypatch.setattr(_kernel, "module_known", lambda name: name != "ip_vs_lblc")
    return fake


@pytest.fixture
def run(host: FakeHost, run_main: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def run_module(check: bool = False, diff: bool = True, **params: Any) -> dict[str, Any]:
        host.written.clear()
        return run_main(ipvs_sysctl.main, params, check=check, diff=diff)

    return run_module


Run = Callable[..., dict[str, Any]]


def snapshot(host: FakeHost) -> dict[str, str]:
    return {str(path): path.read_text() for path in Path(host.root).rglob("*") if path.is_file()}


CASES = [
    {FORWARD: 1},
    {FORWARD: "1", CONNTRACK: 1, "net.ipv4.conf.all.send_redirects": 0, "net.ipv4.conf.eth0.send_redirects": 0},
    {"net.ipv4.conf.eth0/100.arp_ignore": 1},
    {"net/ipv4/conf/eth0.100/arp_ignore": 2},
    {"net.ipv6.conf.all.forwarding": 1},
    {"net.netfilter.nf_conntrack_max": 1000000},
    {"net.ipv4.vs.sync_threshold": "5 60"},
    {"net.ipv4.vs.sync_ports": 4, "net.ipv4.vs.drop_entry": 3},
]


@pytest.mark.parametrize("values", CASES)
def test_check_predicts_what_the_run_does_and_a_second_run_changes_nothing(
    host: FakeHost, run: Run, values: dict[str, Any]
) -> None:
    before = snapshot(host)
    predicted = run(values=values, check=True)
    assert (snapshot(host), host.written) == (before, [])
    assert "diff" not in run(values=values, check=True, diff=False)
    done = run(values=values)
    assert done == predicted
    assert (done["changed"], done["failed"], done["warnings"]) == (True, False, [])
    for setting in _sysctl.parse_settings(values, Findings()):
        assert setting.holds(host.read(setting.path))
        assert f"{setting.line}\n" in (host.file() or "")
    after = snapshot(host)
    for check in (True, False):
        again = run(values=done["values"], check=check)
        assert (again["changed"], again["values"], host.written) == (False, done["values"], [])
        assert all(part["before"] == part["after"] for part in again["diff"])
        assert snapshot(host) == after


def test_the_whole_result_of_a_nat_director(host: FakeHost, run: Run) -> None:
    values = {"net.ipv4.vs.conntrack": 1, "net.ipv4.conf.all.send_redirects": 0, "net/ipv4/ip_forward": "1"}
    content = (
        f"{_sysctl.HEADER}net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.send_redirects = 0\nnet.ipv4.vs.conntrack = 1\n"
    )
    assert run(values=values) == {
        "failed": False,
        "warnings": [],
        "changed": True,
        "file": f"/{DROPIN}",
        "values": {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.send_redirects": 0, "net.ipv4.vs.conntrack": 1},
        "diff": [
            {
                "before_header": "running values",
                "after_header": "running values",
                "before": "net.ipv4.ip_forward = 0\nnet.ipv4.conf.all.send_redirects = 1\nnet.ipv4.vs.conntrack = 0\n",
                "after": "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.send_redirects = 0\nnet.ipv4.vs.conntrack = 1\n",
            },
            {"before_header": f"/{DROPIN}", "after_header": f"/{DROPIN}", "before": "", "after": content},
        ],
    }
    assert host.file() == content


def test_forwarding_comes_first_and_what_it_resets_is_set_again(host: FakeHost, run: Run) -> None:
    values = {"net.ipv4.conf.all.accept_redirects": 1, FORWARD: 1}
    result = run(values=values)
    assert not result["failed"], result
    assert host.written == [("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/accept_redirects", "1")]
    assert host.read("net/ipv4/conf/all/accept_redirects") == "1"


def test_a_default_that_is_copied_to_a_device_does_not_undo_its_value(host: FakeHost, run: Run) -> None:
    result = run(values={"net.ipv4.conf.eth0.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 2})
    assert not result["failed"], result
    assert host.read("net/ipv4/conf/eth0/rp_filter") == "0"


def test_values_the_kernel_moves_by_itself_are_no_change(host: FakeHost, run: Run) -> None:
    values = {"net.ipv4.vs.drop_entry": 1, "net.ipv4.vs.sync_threshold": "3 50"}
    run(values=values)
    assert host.written == []
    result = run(values=values)
    assert (result["changed"], result["values"]) == (False, values)


@pytest.mark.parametrize("key", ["net.ipv4.vs.sync_ports", "net.ipv4.vs.drop_entry"])
def test_a_value_that_the_kernel_silently_restores_fails_by_name(host: FakeHost, run: Run, key: str) -> None:
    host.put(DROPIN, "old\n")
    host.restores = {_sysctl.proc_path(key)}
    found = host.read(_sysctl.proc_path(key))
    wanted = 4 if key.endswith("ports") else 3
    result = run(values={FORWARD: 1, key: wanted})
    assert result["msg"] == f"the kernel does not hold what was written: {key}: wanted {wanted}, found {found}"
    assert (result["failed"], result["changed"], result["applied"]) == (True, True, [FORWARD, key])
    assert host.file() == "old\n"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EROFS, errno.EACCES])
def test_a_value_that_the_kernel_refuses_leaves_the_old_dropin(host: FakeHost, run: Run, number: int) -> None:
    host.put(DROPIN, "old\n")
    host.refuses = {"net/ipv4/vs/conntrack": number}
    result = run(values={CONNTRACK: 1, "net.ipv4.vs.sync_ports": 2, FORWARD: 1})
    assert result["msg"] == f"{CONNTRACK}: the kernel refused '1': {os.strerror(number)}"
    assert (result["failed"], result["changed"], result["applied"]) == (True, True, [FORWARD])
    assert host.read("net/ipv4/vs/sync_ports") == "1"
    assert os.listdir(Path(host.root, "etc/sysctl.d")) == ["99-zz-l4lb-ipvs.conf"]
    assert host.file() == "old\n"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "cannot be written: Read-only file system"),
        (errno.ENOSPC, "cannot be written: No space left on device"),
        (errno.EACCES, "may not be written; run the task with become"),
    ],
)
def test_an_etc_that_cannot_be_written_is_found_before_the_kernel_is_changed(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    host.put(DROPIN, "old\n")
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if "sysctl.d" in str(path) and flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    result = run(values={FORWARD: 1})
    assert (result["failed"], result["msg"]) == (True, f"/{DROPIN}: {message}")
    assert (host.written, host.file()) == ([], "old\n")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EBUSY, "Device or resource busy (is another file mounted on it?)"),
        (errno.EPERM, "Operation not permitted (is it immutable? see lsattr)"),
    ],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_dropin_that_cannot_be_replaced_is_found_before_the_kernel_is_changed(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, number: int, message: str, state: str
) -> None:
    """As one that is immutable, or has another file mounted on it: its directory can be written."""
    host.put(DROPIN, "old\n")
    before = snapshot(host)

    def refuse(path: object, *dummy: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    real = os.unlink
    monkeypatch.setattr(os, "unlink", lambda path: (refuse if str(path).endswith(".conf") else real)(path))
    result = run(values={FORWARD: 1}) if state == "present" else run(state="absent")
    assert (result["failed"], result["msg"]) == (True, f"/{DROPIN}: cannot be written: {message}")
    assert (snapshot(host), host.written) == (before, [])


def test_the_dropin_is_replaced_as_a_whole_and_a_key_that_leaves_keeps_its_running_value(
    host: FakeHost, run: Run
) -> None:
    run(values={FORWARD: 1, CONNTRACK: 1})
    result = run(values={CONNTRACK: 1})
    assert result["changed"]
    assert host.written == []
    assert host.read("net/ipv4/ip_forward") == "1"
    assert host.file() == f"{_sysctl.HEADER}net.ipv4.vs.conntrack = 1\n"


def test_drift_of_the_file_or_of_the_running_value_alone_is_a_change(host: FakeHost, run: Run) -> None:
    run(values={FORWARD: 1})
    content = host.file()
    host.put(DROPIN, "")
    assert run(values={FORWARD: 1})["changed"]
    assert (host.file(), host.written) == (content, [])
    host.put("proc/sys/net/ipv4/ip_forward", "0\n")
    assert run(values={FORWARD: 1})["changed"]
    assert (host.file(), host.read("net/ipv4/ip_forward")) == (content, "1")


def test_each_name_is_a_file_of_its_own(host: FakeHost, run: Run) -> None:
    run(values={FORWARD: 1})
    result = run(values={CONNTRACK: 1}, name="other")
    assert result["file"] == "/etc/sysctl.d/99-zz-other.conf"
    assert sorted(os.listdir(Path(host.root, "etc/sysctl.d"))) == ["99-zz-l4lb-ipvs.conf", "99-zz-other.conf"]


def test_a_dropin_that_is_a_link_is_refused(host: FakeHost, run: Run) -> None:
    host.put("etc/sysctl.d/target", "precious")
    os.symlink("target", Path(host.root, DROPIN))
    result = run(values={FORWARD: 1})
    assert result["msg"].startswith(f"/{DROPIN}: must be a plain file")
    assert (host.written, host.file("etc/sysctl.d/target")) == ([], "precious")


# The boot


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("path", "line", "key"),
    [
        ("etc/sysctl.d/99-zzz.conf", "net.ipv4.ip_forward=0", FORWARD),
        ("run/sysctl.d/99-zzz.conf", "net/ipv4/ip_forward = 0", FORWARD),
        ("usr/local/lib/sysctl.d/99-zzz.conf", "-net.ipv4.ip_forward = 0", FORWARD),
        ("usr/lib/sysctl.d/99-zzz.conf", "net.ipv4.conf.all.forwarding = 0", FORWARD),
        ("lib/sysctl.d/zz.conf", "net.ipv4.conf.*.forwarding = 0", FORWARD),
        ("etc/sysctl.d/99-zzz.conf", "net/ipv4/conf/eth0.100/arp_ignore = 0", "net.ipv4.conf.eth0/100.arp_ignore"),
    ],
)
def test_a_file_that_undoes_the_value_at_boot_is_named_before_anything_is_written(
    host: FakeHost, run: Run, check: bool, path: str, line: str, key: str
) -> None:
    host.put(path, f"# someone's\n{line}\n")
    before = snapshot(host)
    result = run(values={key: 1}, check=check)
    assert result["failed"]
    assert result["msg"] == (
        f"values[{key}]: would be 0 after the next boot: /{path} overrides /{DROPIN}; "
        "change it there, or give that file a name that sorts earlier (got 1)"
    )
    assert (snapshot(host), host.written) == (before, [])


def test_a_line_that_takes_the_key_out_of_the_boot_is_named(host: FakeHost, run: Run) -> None:
    host.put("etc/sysctl.d/99-zzz.conf", "-net.ipv4.ip_forward\n")
    assert "would not be set at boot: /etc/sysctl.d/99-zzz.conf overrides" in run(values={FORWARD: 1})["msg"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("etc/sysctl.d/10-first.conf", "net.ipv4.ip_forward=0"),
        ("etc/sysctl.d/99-sysctl.conf", "net.ipv4.ip_forward=0"),
        ("etc/sysctl.d/99-zzz.conf", "net.ipv4.ip_forward=1"),
        ("etc/sysctl.d/99-zzz.conf", "net.ipv4.*.ip_forward=0"),
        ("etc/sysctl.d/99-zzz.conf", "# net.ipv4.ip_forward=0"),
        ("etc/sysctl.d/99-zzz", "net.ipv4.ip_forward=0"),
        ("run/sysctl.d/99-zz-l4lb-ipvs.conf", "net.ipv4.ip_forward=0"),
    ],
)
def test_a_file_that_does_not_count_more_is_no_obstacle(host: FakeHost, run: Run, path: str, line: str) -> None:
    host.put(path, f"{line}\n")
    result = run(values={FORWARD: 1})
    assert (result["failed"], result["changed"], result["warnings"]) == (False, True, [])


def test_a_masked_file_does_not_count(host: FakeHost, run: Run) -> None:
    host.put("usr/lib/sysctl.d/99-zzz.conf", "net.ipv4.ip_forward=0\n")
    os.makedirs(Path(host.root, "etc/sysctl.d"))
    os.symlink("/dev/null", Path(host.root, "etc/sysctl.d/99-zzz.conf"))
    assert not run(values={FORWARD: 1})["failed"]


@pytest.mark.parametrize("linked", [False, True])
def test_sysctl_conf_is_a_warning(host: FakeHost, run: Run, linked: bool) -> None:
    host.put("etc/sysctl.conf", "net.ipv4.ip_forward=0\n")
    if linked:
        os.makedirs(Path(host.root, "etc/sysctl.d"))
        os.symlink("../sysctl.conf", Path(host.root, "etc/sysctl.d/99-sysctl.conf"))
    result = run(values={FORWARD: 1})
    assert not result["failed"]
    assert result["warnings"] == [
        f"values[{FORWARD}]: 'sysctl --system' would set it to 0: it reads /etc/sysctl.conf last; "
        "change it there (got 1)"
    ]
    host.put("etc/sysctl.conf", "net.ipv4.ip_forward=1\n")
    assert run(values={FORWARD: 1})["warnings"] == []


# What this kernel lacks


def test_a_key_whose_module_is_not_loaded_names_the_module(host: FakeHost, run: Run) -> None:
    for path in [path for path in LIVE if path.startswith(("net/ipv4/vs/", "net/netfilter/"))]:
        host.take(f"proc/sys/{path}")
    values = {FORWARD: 1, CONNTRACK: 1, "net.netfilter.nf_conntrack_tcp_be_liberal": 1}
    before = snapshot(host)
    result = run(values=values)
    assert result["msg"] == (
        "values[net.ipv4.vs.conntrack]: needs the kernel module ip_vs, which is not loaded: modprobe ip_vs; "
        "values[net.netfilter.nf_conntrack_tcp_be_liberal]: needs the kernel module nf_conntrack, which is not loaded: "
        "modprobe nf_conntrack"
    )
    assert (snapshot(host), host.written) == (before, [])
    planned = run(values=values, check=True)
    assert (planned["failed"], planned["changed"], planned["values"]) == (False, True, values)
    assert planned["warnings"][0] == (
        "values[net.ipv4.vs.conntrack]: needs the kernel module ip_vs, which is not loaded: modprobe ip_vs; "
        "planned as if it were there"
    )
    assert len(planned["warnings"]) == 2
    assert "net.ipv4.vs.conntrack" not in planned["diff"][0]["before"]
    assert "net.ipv4.vs.conntrack = 1\n" in planned["diff"][0]["after"]
    assert snapshot(host) == before


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("net.ipv4.vs.run_estimation", "this kernel has no such key"),
        ("net.ipv4.conf.eth0.src_valid_mark", "this kernel has no such key"),
        ("net.netfilter.nf_conntrack_tcp_loose", "this kernel has no such key"),
        ("net.ipv4.vs.lblc_expiration", "needs the kernel module ip_vs_lblc, which this host does not have"),
    ],
)
def test_a_key_that_nothing_brings_is_named(host: FakeHost, run: Run, check: bool, key: str, rule: str) -> None:
    result = run(values={FORWARD: 1, key: 1}, check=check)
    assert (result["failed"], result["msg"]) == (True, f"values[{key}]: {rule}")
    assert host.written == []


def test_an_interface_that_is_not_there_is_named_and_planned_in_check_mode(host: FakeHost, run: Run) -> None:
    values = {"net.ipv4.conf.tun7.rp_filter": 0}
    assert run(values=values)["msg"] == "values[net.ipv4.conf.tun7.rp_filter]: no such interface: tun7"
    planned = run(values=values, check=True)
    assert (planned["failed"], planned["changed"]) == (False, True)
    assert planned["warnings"] == [
        "values[net.ipv4.conf.tun7.rp_filter]: no such interface: tun7; planned as if it were there"
    ]
    assert run(values=values, check=True, assume_prepared=["tun7"]) == {**planned, "warnings": []}
    assert run(values=values, check=True, assume_prepared=["tun8"]) == planned
    assert run(values=values, assume_prepared=["tun7"])["failed"]


def test_a_host_without_ipv6_is_no_missing_interface(host: FakeHost, run: Run) -> None:
    for path in [path for path in LIVE if path.startswith("net/ipv6/")]:
        host.take(f"proc/sys/{path}")
    result = run(values={"net.ipv6.conf.eth0.accept_ra": 0}, check=True)
    assert result["msg"] == "values[net.ipv6.conf.eth0.accept_ra]: this kernel has no such key"


# Values without effect


def test_a_value_less_than_that_of_all_is_a_warning(host: FakeHost, run: Run) -> None:
    result = run(values={"net.ipv4.conf.eth0.send_redirects": 0})
    assert result["warnings"] == [
        "values[net.ipv4.conf.eth0.send_redirects]: has no effect while net.ipv4.conf.all.send_redirects is 1: "
        "the kernel takes the larger (got 0)"
    ]
    both = {"net.ipv4.conf.eth0.send_redirects": 0, "net.ipv4.conf.all.send_redirects": 0}
    assert run(values=both)["warnings"] == []


def test_an_interface_may_have_the_name_of_a_directory(host: FakeHost, run: Run) -> None:
    host.put("proc/sys/net/ipv4/conf/conf/send_redirects", "0\n")
    assert (
        "while net.ipv4.conf.all.send_redirects is 1"
        in run(values={"net.ipv4.conf.conf.send_redirects": 0})["warnings"][0]
    )


def test_a_thousand_keys_take_a_few_seconds_at_most(host: FakeHost, run: Run) -> None:
    values = {f"net.ipv4.conf.eth{number}.rp_filter": 1 for number in range(1000)}
    for key in values:
        host.put(f"proc/sys/{_sysctl.proc_path(key)}", "0\n")
    began = time.process_time()
    assert len(run(values=values)["values"]) == 1000
    assert time.process_time() - began < 10


def test_the_all_of_ipv6_redirects_is_a_warning(host: FakeHost, run: Run) -> None:
    result = run(values={"net.ipv6.conf.all.accept_redirects": 0})
    assert (result["changed"], len(result["warnings"])) == (True, 1)
    assert "net.ipv6.conf.all.accept_redirects]: has no effect" in result["warnings"][0]


# state: absent


@pytest.mark.parametrize("check", [False, True])
def test_absent_removes_the_dropin_and_leaves_the_running_values(host: FakeHost, run: Run, check: bool) -> None:
    run(values={FORWARD: 1, CONNTRACK: 1})
    content = host.file()
    result = run(state="absent", check=check)
    assert result == {
        "failed": False,
        "warnings": [],
        "changed": True,
        "file": f"/{DROPIN}",
        "diff": [{"before_header": f"/{DROPIN}", "after_header": f"/{DROPIN}", "before": content, "after": ""}],
    }
    assert host.file() == (content if check else None)
    assert (host.written, host.read("net/ipv4/ip_forward")) == ([], "1")
    assert run(state="absent", check=check)["changed"] is check


def test_absent_with_values_takes_these_keys_only(host: FakeHost, run: Run) -> None:
    run(values={FORWARD: 1, CONNTRACK: 1})
    assert run(state="absent", values={FORWARD: 1})["changed"]
    assert host.file() == f"{_sysctl.HEADER}net.ipv4.vs.conntrack = 1\n"
    assert not run(state="absent", values={FORWARD: 1})["changed"]
    assert run(state="absent", values={CONNTRACK: 1})["changed"]
    assert host.file() is None


def test_absent_where_there_is_nothing_changes_nothing(host: FakeHost, run: Run) -> None:
    before = snapshot(host)
    assert not run(state="absent")["changed"]
    assert snapshot(host) == before


# netns


def test_a_network_namespace_has_running_values_only(host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[object] = []
    monkeypatch.setattr("plugins.module_utils._module.enter_namespace", entered.append)
    host.put("etc/sysctl.d/99-zzz.conf", "net.ipv4.ip_forward=0\n")
    before = host.file()
    result = run(values={FORWARD: 1}, netns="blue")
    assert (result["failed"], result["changed"], result["file"], len(result["diff"])) == (False, True, None, 1)
    assert (entered, host.read("net/ipv4/ip_forward"), host.file()) == (["blue"], "1", before)
    refused = run(state="absent", netns="blue")
    assert refused["msg"].startswith("state: must be present with netns")


@pytest.mark.parametrize("netns", ["typo", "../x", "x" * 300])
def test_an_unknown_network_namespace_is_refused(host: FakeHost, run: Run, netns: str) -> None:
    result = run(values={FORWARD: 1}, netns=netns)
    assert result["msg"].startswith("netns: no such network namespace; known: ")
    assert host.written == []


# Bad input


@pytest.mark.parametrize("check", [False, True])
def test_all_problems_are_told_at_once_and_nothing_is_written(host: FakeHost, run: Run, check: bool) -> None:
    before = snapshot(host)
    values = {FORWARD: True, "net.ipv4.conf.all.arp_ignore": 9, "net.ipv4.vs.contrack": 1, CONNTRACK: 1}
    result = run(values=values, name="../x", check=check)
    assert result["problems"] == [
        "name: must be 1..64 letters, digits, '_' or '-', beginning with a letter or digit (got '../x')",
        "values[net.ipv4.ip_forward]: must be a decimal integer 0..1 (got True)",
        "values[net.ipv4.conf.all.arp_ignore]: must be an integer 0..8 (got 9)",
        "values: unknown key; did you mean net.ipv4.vs.conntrack? (got 'net.ipv4.vs.contrack')",
    ]
    assert result["msg"] == "; ".join(result["problems"])
    assert (result["failed"], snapshot(host), host.written) == (True, before, [])


@pytest.mark.parametrize("values", [{}, None])
def test_present_needs_values(host: FakeHost, run: Run, values: object) -> None:
    host.put(DROPIN, "old\n")
    result = run(values=values)
    assert result["msg"] == "values: must not be empty; state: absent removes the drop-in"
    assert host.file() == "old\n"


@pytest.mark.parametrize("values", ["net.ipv4.ip_forward=1", [FORWARD], 1])
def test_values_of_another_type_are_refused(host: FakeHost, run: Run, values: object) -> None:
    result = run(values=values)
    assert result["msg"].startswith("values: must be a dict of keys and values (got ")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"value": {FORWARD: 1}}, "Unsupported parameters"),
        ({"values": {FORWARD: 1}, "state": "gone"}, "value of state must be one of: present, absent"),
    ],
)
def test_unknown_options_and_states_are_refused(host: FakeHost, run: Run, params: dict[str, Any], message: str) -> None:
    assert message in run(**params)["msg"]
    assert host.written == []


# The documentation


def documented() -> dict[str, str]:
    description = yaml.safe_load(ipvs_sysctl.DOCUMENTATION)["options"]["values"]["description"]
    return {
        found[1]: found[2] for found in (re.match(r"C\((net\.[^)]*)\) (.*)", line) for line in description) if found
    }


def test_every_key_is_documented() -> None:
    assert list(documented()) == list(_sysctl.KEYS)


@pytest.mark.parametrize(("key", "told"), list(documented().items()))
def test_the_documented_range_is_the_one_that_is_checked(key: str, told: str) -> None:
    def takes(value: int) -> bool:
        findings = Findings()
        _sysctl.parse_settings({key.replace("*", "eth0"): value}, findings)
        return not findings.problems

    bounds = re.match(r"(-?[0-9]+)\.\.([0-9]+)", told)
    if bounds:
        low, high = int(bounds[1]), int(bounds[2])
        assert [takes(low - 1), takes(low), takes(high), takes(high + 1)] == [False, True, True, False]
    else:
        assert key.rsplit(".", 1)[1] in ("sync_ports", "sync_threshold", "est_cpulist")


def test_the_documented_spec_is_the_one_that_is_used() -> None:
    options = yaml.safe_load(ipvs_sysctl.DOCUMENTATION)["options"]
    shown = {name: {key: option[key] for key in option if key != "description"} for name, option in options.items()}
    assert {**ASSUME_PREPARED, **shown} == ipvs_sysctl.ARGUMENT_SPEC


def test_the_examples_are_valid() -> None:
    for task in yaml.safe_load(ipvs_sysctl.EXAMPLES):
        params = task["l4lb.ipvs.ipvs_sysctl"]
        findings = Findings()
        _sysctl.parse_settings(params.get("values", {}), findings)
        _sysctl.parse_name(params.get("name", "x"), findings)
        assert findings.problems == []
        assert set(params) <= {*ipvs_sysctl.ARGUMENT_SPEC, "netns"}
