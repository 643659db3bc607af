# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_vip: the whole module on a kernel that keeps the real one's rules for addresses."""

from __future__ import annotations

import errno
import re
import socket
from typing import Any, Callable, Optional

import pytest

from plugins.module_utils import _arp, _management, _networkd, _vip_task
from plugins.module_utils._errors import Forbidden, KernelRefused
from plugins.module_utils._rtnl import (
    FOREVER,
    IFA_F_DADFAILED,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    IFF_NOARP,
    IFF_RUNNING,
    IFF_UP,
    Address,
    Link,
)
from plugins.modules import ipvs_vip

UP = IFF_UP | IFF_RUNNING
MAC = bytes.fromhex("525400000001")
OTHER_MAC = bytes.fromhex("525400000099")


def ip(written: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in written else socket.AF_INET, written)


class FakeKernel:
    """Links and addresses with the rules of devinet.c and addrconf.c; every write is in ``writes``."""

    def __init__(self) -> None:
        self.table = {
            "lo": Link(1, "lo", UP | IFF_LOOPBACK, hardware=772),
            "eth0": Link(2, "eth0", UP, mac=MAC),
            "dummy0": Link(3, "dummy0", UP | IFF_NOARP, kind="dummy"),
            "eth1": Link(4, "eth1", 0, mac=MAC),
            "port0": Link(5, "port0", UP, mac=MAC, master="br0", master_kind="bridge"),
            "eth2": Link(6, "eth2", IFF_UP, mac=MAC),
        }
        self.held = [
            Address(ip("127.0.0.1"), "lo", 8, scope="host", protocol=0),
            Address(ip("::1"), "lo", 128, scope="host", protocol=1),
            Address(ip("198.51.100.10"), "eth0", 24, broadcast=ip("198.51.100.255"), protocol=0),
        ]
        self.writes: list[tuple[str, Address]] = []
        self.marks = True
        self.refuse: dict[tuple[str, bytes], int] = {}
        #: What duplicate address detection gives: flags of each reading after an addition, the last one lasting.
        self.detection: list[int] = [IFA_F_TENTATIVE, 0]

    def __enter__(self) -> FakeKernel:
        return self

    def __exit__(self, *dummy: object) -> None:
        pass

    def links(self) -> dict[str, Link]:
        return self.table

    def addresses(self) -> list[Address]:
        found = list(self.held)
        for position, address in enumerate(self.held):
            if address.flags & IFA_F_TENTATIVE and self.detection:
                self.held[position] = address._replace(flags=self.detection.pop(0))
        return found

    def add(self, address: Address) -> None:
        self._write("add", address)
        v4 = len(address.address) == 4
        for other in self.held:
            same_prefix = other.prefix == address.prefix or not v4
            if (other.address, other.interface) == (address.address, address.interface) and same_prefix:
                raise KernelRefused("File exists", errno.EEXIST)
        flags = 0 if v4 or address.nodad else IFA_F_TENTATIVE
        self.held.append(address._replace(protocol=address.protocol if self.marks else 0, flags=flags))

    def replace(self, address: Address) -> None:
        self._write("replace", address)
        for position, other in enumerate(self.held):
            if (other.address, other.interface) == (address.address, address.interface):
                changes: dict[str, Any] = {"preferred_lifetime": address.preferred_lifetime}
                if len(address.address) == 16:
                    changes.update(nodad=address.nodad, noprefixroute=address.noprefixroute)
                self.held[position] = other._replace(**changes)

    def remove(self, address: Address) -> None:
        self._write("remove", address)
        key = (address.address, address.interface, address.prefix)
        if key not in [(a.address, a.interface, a.prefix) for a in self.held]:
            raise KernelRefused("Cannot assign requested address", errno.EADDRNOTAVAIL)
        self.held = [a for a in self.held if (a.address, a.interface, a.prefix) != key]

    def _write(self, verb: str, address: Address) -> None:
        self.writes.append((verb, address))
        number = self.refuse.get((verb, address.address))
        if number:
            raise KernelRefused("refused by the test", number)


def is_arp(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\x06"


class FakePackets:
    """A segment on which ``holders`` answer ARP for an address."""

    def __init__(self) -> None:
        self.holders: dict[bytes, bytes] = {}
        self.sent: list[tuple[str, bytes]] = []
        self.waiting: list[tuple[str, bytes]] = []

    def __enter__(self) -> FakePackets:
        return self

    def __exit__(self, *dummy: object) -> None:
        pass

    def send(self, interface: str, frame: bytes) -> None:
        self.sent.append((interface, frame))
        if is_arp(frame) and not any(frame[28:32]) and frame[38:42] in self.holders:
            mac = self.holders[frame[38:42]]
            self.waiting.append((interface, _arp.arp_frame(_arp.ARP_REPLY, mac, frame[38:42], b"\0" * 4)))

    def receive(self, timeout: float) -> Optional[tuple[str, bytes]]:
        return self.waiting.pop(0) if self.waiting else None

    @property
    def probes(self) -> list[bytes]:
        return [frame[38:42] for dummy, frame in self.sent if is_arp(frame) and not any(frame[28:32])]

    @property
    def announced(self) -> set[bytes]:
        senders = {frame[28:32] if is_arp(frame) else frame[22:38] for dummy, frame in self.sent}
        return senders - {b"\0" * 4}


class Host:
    def __init__(self, sysctls: Any) -> None:
        self.kernel = FakeKernel()
        self.packets = FakePackets()
        self._sysctls = sysctls

    def sysctl(self, family: str, interface: str, key: str, value: int) -> None:
        path = self._sysctls / family / "conf" / interface
        path.mkdir(parents=True, exist_ok=True)
        (path / key).write_text(f"{value}\n")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Host:
    made = Host(tmp_path / "sysctl")
    for name in made.kernel.table:
        made.sysctl("ipv6", name, "disable_ipv6", 0)
        made.sysctl("ipv4", name, "arp_ignore", 1)
    monkeypatch.setattr(_vip_task, "PROC_NET", str(tmp_path / "sysctl"))
    monkeypatch.setattr(_networkd, "ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(_vip_task, "open_kernel", lambda: made.kernel)
    monkeypatch.setattr(_vip_task, "open_packets", lambda: made.packets)
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": "198.51.100.10", "port": 22})
    monkeypatch.setattr(_vip_task, "DAD_INTERVAL", 0)
    return made


@pytest.fixture
def run(run_main: Callable[..., Any]) -> Callable[..., Any]:
    def call(check: bool = False, **params: Any) -> Any:
        return run_main(ipvs_vip.main, params, check=check)

    return call


def ours(host: Host) -> list[tuple[str, str, int]]:
    return [
        (socket.inet_ntop(socket.AF_INET if len(a.address) == 4 else socket.AF_INET6, a.address), a.interface, a.prefix)
        for a in host.kernel.held
        if a.ours
    ]


VIP = {"address": "192.0.2.10", "interface": "eth0"}
VIP6 = {"address": "2001:db8::10", "interface": "eth0"}
LINE = "192.0.2.10/32 dev eth0 scope global"


def test_adds_one_in_the_four_modes(host: Host, run: Any) -> None:
    checked = run(check=True, **VIP)
    assert checked["changed"]
    assert host.kernel.writes == []
    assert host.packets.sent == []
    done = run(**VIP)
    assert done == {**checked, "warnings": []}
    assert done["diff"] == {"before": "", "after": f"{LINE}\n"}
    assert done["operations"] == [f"add {LINE}"]
    assert done["vips"] == [{"address": "192.0.2.10", "prefix": 32, "interface": "eth0", "scope": "global"}]
    assert ours(host) == [("192.0.2.10", "eth0", 32)]
    for again in (run(**VIP), run(check=True, **VIP), run(vips=done["vips"]), run(vips=done["vips"], purge="owned")):
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"] == f"{LINE}\n"
    assert len(host.kernel.writes) == 1


def test_many_in_one_task(host: Host, run: Any) -> None:
    done = run(vips=[VIP, VIP6, {"address": "192.0.2.11", "interface": "dummy0", "scope": "host"}])
    assert done["changed"]
    assert sorted(ours(host)) == [
        ("192.0.2.10", "eth0", 32),
        ("192.0.2.11", "dummy0", 32),
        ("2001:db8::10", "eth0", 128),
    ]
    assert not run(vips=done["vips"])["changed"]


def test_every_attribute_arrives(host: Host, run: Any) -> None:
    wish = {
        "address": "192.0.2.10",
        "interface": "eth0",
        "prefix": "24",
        "broadcast": "+",
        "scope": "link",
        "label": "eth0:vip",
        "preferred_lifetime": 0,
        "noprefixroute": True,
    }
    done = run(**wish)
    expected = Address(ip("192.0.2.10"), "eth0", 24, "link", ip("192.0.2.255"), "eth0:vip", False, True, 0)
    assert host.kernel.writes == [("add", expected)]
    line = "192.0.2.10/24 broadcast 192.0.2.255 dev eth0 scope link label eth0:vip preferred_lft 0 noprefixroute"
    assert done["operations"] == [f"add {line}"]
    assert not run(vips=done["vips"])["changed"]


def test_ipv6_attributes_arrive(host: Host, run: Any) -> None:
    done = run(**VIP6, nodad=True, preferred_lifetime="0", noprefixroute="yes")
    expected = Address(ip("2001:db8::10"), "eth0", 128, nodad=True, noprefixroute=True, preferred_lifetime=0)
    assert host.kernel.writes == [("add", expected)]
    assert not run(vips=done["vips"])["changed"]


@pytest.mark.parametrize("params", [VIP, {**VIP, "interface": "dummy0"}, {**VIP, "prefix": 24}])
@pytest.mark.parametrize("interface", ["eth0", "dummy0"])
def test_v04_an_address_of_somebody_else_is_kept(host: Host, run: Any, params: Any, interface: str) -> None:
    host.kernel.held.append(Address(ip("192.0.2.10"), interface, 24, protocol=18))
    for state in ("present", "absent"):
        done = run(**params, state=state)
        assert not done["changed"]
        assert [(kept["interface"], kept["prefix"]) for kept in done["kept"]] == [(interface, 24)]
    assert host.kernel.writes == []
    assert host.packets.sent == []


def test_v03_the_management_address_as_vip_is_kept(host: Host, run: Any) -> None:
    # the first seed's VIP is the director's own address
    done = run(address="198.51.100.10", interface="eth0", purge="owned")
    assert not done["changed"]
    assert [kept["address"] for kept in done["kept"]] == ["198.51.100.10"]
    assert host.kernel.writes == []


def test_does_not_move_to_where_somebody_else_put_it(host: Host, run: Any) -> None:
    run(**{**VIP, "interface": "dummy0"})
    host.kernel.held.append(Address(ip("192.0.2.10"), "eth0", 32, protocol=18))
    done = run(**VIP)
    assert done["operations"] == ["remove 192.0.2.10/32 dev dummy0 scope global"]
    assert [kept["interface"] for kept in done["kept"]] == ["eth0"]
    assert not run(**VIP)["changed"]


def test_ours_stays_ours_beside_a_foreign_copy(host: Host, run: Any) -> None:
    host.kernel.held.append(Address(ip("192.0.2.10"), "dummy0", 32, protocol=0))
    host.kernel.held.append(Address(ip("192.0.2.10"), "eth0", 32))
    assert not run(**VIP)["changed"]


def test_changes_in_place_what_the_kernel_changes(host: Host, run: Any) -> None:
    run(vips=[VIP, VIP6])
    host.kernel.writes.clear()
    done = run(vips=[{**VIP, "preferred_lifetime": 0}, {**VIP6, "preferred_lifetime": 0, "noprefixroute": True}])
    assert [verb for verb, dummy in host.kernel.writes] == ["replace", "replace"]
    assert "192.0.2.10/32 dev eth0 scope global preferred_lft 0\n" in done["diff"]["after"]
    assert not run(vips=done["vips"])["changed"]


@pytest.mark.parametrize(
    ("held", "wish", "path"),
    [
        (VIP, {**VIP, "scope": "host"}, "scope"),
        (VIP, {**VIP, "label": "eth0:x"}, "label"),
        (VIP, {**VIP, "noprefixroute": True}, "noprefixroute"),
        ({**VIP, "prefix": 24}, {**VIP, "prefix": 24, "broadcast": "+"}, "broadcast"),
        (VIP6, {**VIP6, "prefix": 64}, "prefix"),
    ],
)
def test_refuses_what_the_kernel_cannot_change_in_place(host: Host, run: Any, held: Any, wish: Any, path: str) -> None:
    run(**held)
    host.kernel.writes.clear()
    for check in (True, False):
        refused = run(check=check, **wish)
        assert refused["failed"]
        assert refused["msg"].startswith(f"{path}: the kernel cannot change ")
    assert host.kernel.writes == []


@pytest.mark.parametrize("change", [{"prefix": 24}, {"interface": "dummy0"}])
def test_a_move_adds_before_it_removes(host: Host, run: Any, change: Any) -> None:
    run(**VIP)
    host.kernel.writes.clear()
    done = run(**{**VIP, **change})
    assert [verb for verb, dummy in host.kernel.writes] == ["add", "remove"]
    assert len(ours(host)) == 1
    assert done["diff"]["before"] == f"{LINE}\n"
    assert not run(vips=done["vips"])["changed"]


@pytest.mark.parametrize("change", [{"prefix": 24}, {"interface": "dummy0"}])
def test_a_former_place_is_kept_as_long_as_that_is_asked_for(host: Host, run: Any, change: Any) -> None:
    run(**VIP)
    moved = {**VIP, **change}
    assert [one.split()[0] for one in run(**moved, keep_former=True)["operations"]] == ["add"]
    assert len(ours(host)) == 2
    assert not run(**moved, keep_former=True)["changed"]
    assert [one.split()[0] for one in run(**moved)["operations"]] == ["remove"]
    assert len(ours(host)) == 1
    assert run(**moved, state="absent", keep_former=True)["failed"]


def test_removes_only_its_own(host: Host, run: Any) -> None:
    run(vips=[VIP, VIP6])
    before = [address for address in host.kernel.held if not address.ours]
    checked = run(check=True, vips=[VIP], state="absent")
    assert len(ours(host)) == 2
    done = run(vips=[VIP], state="absent")
    assert done == checked
    assert ours(host) == [("2001:db8::10", "eth0", 128)]
    assert [address for address in host.kernel.held if not address.ours] == before
    assert not run(vips=[VIP], state="absent")["changed"]


def test_removes_whatever_its_attributes(host: Host, run: Any) -> None:
    run(**VIP, prefix=24)
    assert run(address="192.0.2.10", state="absent")["operations"] == ["remove 192.0.2.10/24 dev eth0 scope global"]
    assert ours(host) == []


def test_leaves_another_interface_alone_on_removal(host: Host, run: Any) -> None:
    run(**VIP)
    assert not run(address="192.0.2.10", interface="dummy0", state="absent")["changed"]


def test_purges_its_own_and_nothing_else(host: Host, run: Any) -> None:
    run(vips=[VIP, VIP6])
    assert not run(**{**VIP, "address": "192.0.2.10"})["changed"]
    done = run(vips=[VIP], purge="owned")
    assert done["operations"] == ["remove 2001:db8::10/128 dev eth0 scope global"]
    assert ours(host) == [("192.0.2.10", "eth0", 32)]
    assert len(host.kernel.held) == 4


def test_a_purge_looks_only_at_its_interfaces(host: Host, run: Any) -> None:
    run(vips=[VIP, {"address": "192.0.2.20", "interface": "lo"}, {"address": "192.0.2.21", "interface": "eth0"}])
    done = run(vips=[VIP], purge="owned", purge_interfaces=["lo"])
    assert done["operations"] == ["remove 192.0.2.20/32 dev lo scope global"]
    assert run(state="absent", purge="owned", purge_interfaces=["lo"])["operations"] == []
    assert len(run(state="absent", purge="owned", purge_interfaces=["eth0"])["operations"]) == 2


def test_a_purge_of_quiet_addresses_leaves_those_of_a_director(host: Host, run: Any) -> None:
    quiet = {"address": "192.0.2.21", "interface": "lo", "scope": "host"}
    quiet6 = {"address": "2001:db8::21", "interface": "lo", "nodad": True}
    run(vips=[{"address": "192.0.2.20", "interface": "lo"}, {**VIP6, "interface": "lo"}, quiet, quiet6])
    done = run(vips=[VIP], purge="owned", purge_quiet=True)
    assert [one.split()[:2] for one in done["operations"][1:]] == [
        ["remove", "192.0.2.21/32"],
        ["remove", "2001:db8::21/128"],
    ]
    assert run(state="absent", purge="owned", purge_quiet=True)["operations"] == []


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"purge_quiet": True}, "purge_quiet: means nothing without purge owned (got True)"),
        ({"purge_interfaces": ["lo"]}, "purge_interfaces: means nothing without purge owned (got ['lo'])"),
        (
            {"purge": "owned", "purge_interfaces": ["a/b"]},
            "purge_interfaces[0]: must be an interface name of 1..15 letters, digits, '_', '.', ':', '@' or '-' "
            "(got 'a/b')",
        ),
    ],
)
def test_bad_interfaces_of_a_purge_are_told(host: Host, run: Any, params: Any, problem: str) -> None:
    assert run(vips=[VIP], **params)["msg"] == problem


def test_tells_its_own_that_are_not_listed(host: Host, run: Any) -> None:
    run(vips=[VIP, VIP6])
    [unlisted] = run(vips=[VIP])["unlisted"]
    assert (unlisted["address"], unlisted["interface"], unlisted["prefix"]) == ("2001:db8::10", "eth0", 128)
    assert run(vips=[unlisted], state="absent")["operations"] == ["remove 2001:db8::10/128 dev eth0 scope global"]
    assert run(vips=[VIP])["unlisted"] == []


def test_an_empty_list_does_not_purge_everything(host: Host, run: Any) -> None:
    assert not run(vips=[], purge="owned")["failed"]
    run(**VIP)
    refused = run(vips=[], purge="owned")
    assert refused["msg"].startswith("vips: is empty and purge would remove all 1: say so with state absent")
    assert ours(host) == [("192.0.2.10", "eth0", 32)]
    assert run(state="absent", purge="owned")["changed"]
    assert ours(host) == []


def test_without_marks_nothing_is_taken_for_ours(host: Host, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vip_task, "_release", lambda: (5, 14))
    host.kernel.marks = False
    host.kernel.held = [address._replace(protocol=0) for address in host.kernel.held]
    assert run(**VIP)["warnings"] == []
    again = run(**{**VIP, "preferred_lifetime": 0})
    assert not again["changed"]
    assert "this kernel does not keep who added an address" in again["warnings"][0]
    purged = run(vips=[], purge="owned")
    assert not purged["changed"]
    assert "this kernel does not keep" in purged["warnings"][0]
    assert not run(address="192.0.2.10", state="absent")["changed"]
    removed = run(**VIP, state="absent")
    assert removed["diff"] == {"before": f"{LINE}\n", "after": ""}
    assert ip("192.0.2.10") not in [address.address for address in host.kernel.held]


# probe and announce


def test_v10_f28_refuses_an_address_in_use_and_names_the_mac(host: Host, run: Any) -> None:
    host.packets.holders[ip("192.0.2.10")] = OTHER_MAC
    refused = run(vips=[VIP, {**VIP, "address": "192.0.2.11"}])
    assert refused["failed"]
    assert refused["msg"] == "192.0.2.10 on eth0 is in use by the host with MAC 52:54:00:00:00:99"
    assert refused["outcome"]["applied"] == []
    assert len(refused["outcome"]["not_attempted"]) == 2
    assert host.kernel.writes == []


def test_its_own_answer_is_no_conflict(host: Host, run: Any) -> None:
    host.packets.holders[ip("192.0.2.10")] = MAC
    assert not run(**VIP)["failed"]


def test_probes_and_announces_what_it_adds(host: Host, run: Any) -> None:
    run(
        vips=[
            VIP,
            VIP6,
            {"address": "192.0.2.11", "interface": "dummy0"},
            {"address": "192.0.2.12", "interface": "eth1"},
        ]
    )
    assert host.packets.probes == [ip("192.0.2.10")] * _arp.PROBES
    assert host.packets.announced == {ip("192.0.2.10"), ip("2001:db8::10")}
    host.packets.sent.clear()
    run(**VIP)
    assert host.packets.sent == []


def test_probe_and_announce_can_be_switched_off(host: Host, run: Any) -> None:
    host.packets.holders[ip("192.0.2.10")] = OTHER_MAC
    assert not run(**VIP, probe=False, announce="no")["failed"]
    assert host.packets.sent == []


def test_without_the_capability_nothing_is_written(host: Host, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise Forbidden("needs CAP_NET_RAW")

    monkeypatch.setattr(_vip_task, "open_packets", refuse)
    assert run(**VIP)["msg"] == "needs CAP_NET_RAW"
    assert host.kernel.writes == []


# duplicate address detection of IPv6


def test_f28_a_duplicate_ipv6_address_is_taken_back(host: Host, run: Any) -> None:
    run(**VIP)
    host.kernel.detection = [IFA_F_TENTATIVE, IFA_F_TENTATIVE | IFA_F_DADFAILED]
    refused = run(vips=[{**VIP, "interface": "dummy0"}, VIP6])
    assert refused["msg"] == "2001:db8::10 on eth0 is in use by another host; it has been removed again"
    assert refused["outcome"]["applied"] == ["add 192.0.2.10/32 dev dummy0 scope global"]
    assert refused["outcome"]["not_attempted"] == [f"remove {LINE}"]
    # nothing is removed after a failure
    assert sorted(ours(host)) == [("192.0.2.10", "dummy0", 32), ("192.0.2.10", "eth0", 32)]


def test_waits_for_detection_only_so_long(host: Host, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.kernel.detection = []
    monkeypatch.setattr(_vip_task, "DAD_TIMEOUT", 0.0)
    refused = run(**VIP6)
    assert refused["failed"]
    assert "has not decided whether another host has 2001:db8::10/128" in refused["msg"]
    assert refused["changed"]


def test_does_not_wait_without_a_carrier(host: Host, run: Any) -> None:
    host.kernel.detection = []
    done = run(address="2001:db8::10", interface="eth2")
    assert not done["failed"]
    assert "when the link has a carrier" in done["warnings"][0]


def test_v09_does_not_wait_with_nodad_and_warns(host: Host, run: Any) -> None:
    host.kernel.detection = []
    done = run(**VIP6, nodad=True)
    assert done["warnings"] == ["nodad: a second holder of the address will not be noticed (got True)"]
    assert run(address="2001:db8::11", interface="dummy0", nodad=True)["warnings"] == []


# failures


def test_nothing_is_removed_after_a_failure(host: Host, run: Any) -> None:
    run(**VIP)
    host.kernel.refuse[("add", ip("192.0.2.12"))] = errno.ENOBUFS
    wanted = [{**VIP, "address": f"192.0.2.{last}"} for last in (11, 12, 13)]
    refused = run(vips=wanted, purge="owned")
    assert refused["msg"].startswith("the kernel refused to add 192.0.2.12/32 dev eth0 scope global: ")
    assert [line.split("/")[0] for line in refused["outcome"]["applied"]] == ["add 192.0.2.11"]
    assert len(refused["outcome"]["not_attempted"]) == 2
    assert ("192.0.2.10", "eth0", 32) in ours(host)
    host.kernel.refuse.clear()
    assert run(vips=wanted, purge="owned")["changed"]
    assert not run(vips=wanted, purge="owned")["changed"]


def test_an_address_gone_meanwhile_is_no_failure(host: Host, run: Any) -> None:
    run(**VIP)
    host.kernel.refuse[("remove", ip("192.0.2.10"))] = errno.EADDRNOTAVAIL
    assert not run(**VIP, state="absent")["failed"]


def test_v11_removing_the_address_of_the_connection_is_refused(host: Host, run: Any, monkeypatch: Any) -> None:
    run(**VIP)
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": "192.0.2.10", "port": 22})
    for params in ({**VIP, "state": "absent"}, {"state": "absent", "purge": "owned"}):
        for check in (True, False):
            assert "this task is connected through it" in run(check=check, **params)["msg"]
    assert ours(host) == [("192.0.2.10", "eth0", 32)]
    assert run(**VIP, prefix=24)["changed"]
    monkeypatch.setattr(_management, "management_connection", lambda: None)
    assert run(**VIP, state="absent")["changed"]


def test_does_not_take_foreign_secondaries_along(host: Host, run: Any) -> None:
    run(**VIP, prefix=24)
    host.kernel.held.append(Address(ip("192.0.2.20"), "eth0", 24, protocol=0, flags=IFA_F_SECONDARY))
    refused = run(**VIP, state="absent")
    assert "would take 192.0.2.20 along: set net.ipv4.conf.eth0.promote_secondaries to 1 first" in refused["msg"]
    assert ("192.0.2.10", "eth0", 24) in ours(host)
    host.sysctl("ipv4", "all", "promote_secondaries", 1)
    assert run(**VIP, state="absent")["changed"]


def test_secondaries_go_before_their_primary(host: Host, run: Any) -> None:
    run(**VIP, prefix=24)
    host.kernel.held.append(Address(ip("192.0.2.20"), "eth0", 24, flags=IFA_F_SECONDARY))
    done = run(state="absent", purge="owned")
    assert [line.split()[1] for line in done["operations"]] == ["192.0.2.20/24", "192.0.2.10/24"]


# bad input: nothing is written, and check mode says the same

TOO_MANY = [{"address": "192.0.2.10", "interface": "eth0"}] * 10_001
BAD = {
    "C02-nothing": ({}, r"address: is required \(or vips\)"),
    "C02-interface": ({"address": "192.0.2.10"}, r"interface: is required"),
    "C03-list-for-a-vip": ({"vips": [VIP, ["x"]]}, r"vips"),
    "C04-empty-label": ({**VIP, "label": ""}, r"label: must not be empty"),
    "C05-right-to-left-override": ({**VIP, "label": "eth0:\u202ex"}, r"label: invalid character at offset 5"),
    "C05-newline-alone": ({**VIP, "address": "192.0.2.10\n"}, r"address: invalid character at offset 10"),
    "C07-boolean-alone": ({**VIP, "prefix": True}, r"prefix: must be a decimal integer 1\.\.128 \(got True\)"),
    "C08-prefix-0": ({**VIP, "prefix": 0}, r"prefix: must be an integer 1\.\.128"),
    "C08-prefix-33": ({**VIP, "prefix": 33}, r"prefix: must be at most 32 for 192\.0\.2\.10 \(got 33\)"),
    "C09-too-many": ({"vips": TOO_MANY}, r"vips: must have at most 10000 items"),
    "C10-template-alone": ({**VIP, "address": "{{ vip }}"}, r"address: looks like an unrendered template"),
    "C11-one-and-many": ({**VIP, "vips": [VIP]}, r"vips: excludes address, interface"),
    "C14-unknown-interface": (
        {**VIP, "interface": "eth9"},
        r"interface: no such interface; known: dummy0, eth0, .* \(got 'eth9'\)",
    ),
    "C15-other-prefix": (
        {"vips": [VIP, VIP6, {**VIP, "prefix": 24}]},
        r"vips\[2\]: duplicate of vips\[0\] \(got '192\.0\.2\.10'\)",
    ),
    "C15-other-spelling": (
        {"vips": [VIP6, {**VIP6, "address": "2001:db8:0::10"}]},
        r"vips\[1\]: duplicate of vips\[0\]",
    ),
    "prefix-in-the-address": (
        {**VIP, "address": "192.0.2.10/24"},
        r"address: must be an IP address without a prefix length",
    ),
    "host-name": ({**VIP, "address": "vip.example"}, r"address: must be an IP address; host names are not resolved"),
    "unspecified-address": ({**VIP, "address": "0.0.0.0"}, r"address: must not be the unspecified address"),
    "multicast-address": ({**VIP, "address": "224.0.0.1"}, r"address: must be a unicast address"),
    "link-local-address": ({**VIP, "address": "fe80::1"}, r"address: must not be a link-local address"),
    "V02-ipv4-network-on-lo": ({"address": "192.0.2.10", "interface": "lo", "prefix": 24}, r"prefix: must be 32 on lo"),
    "V02-ipv6-network-on-lo": (
        {"address": "2001:db8::10", "interface": "lo", "prefix": 64},
        r"prefix: must be 128 on lo",
    ),
    "V05-network-address": (
        {**VIP, "address": "192.0.2.0", "prefix": 24},
        r"address: is the network address of its network",
    ),
    "V05-broadcast-address": (
        {**VIP, "address": "192.0.2.255", "prefix": 24},
        r"address: is the broadcast address of its network",
    ),
    "V05-broadcast-address-of-the-interface": (
        {**VIP, "address": "198.51.100.255"},
        r"address: is the broadcast address of 198\.51\.100\.10/24 on eth0",
    ),
    "V05-network-address-of-the-interface": (
        {**VIP, "address": "198.51.100.0"},
        r"address: is the network address of 198\.51\.100\.10/24 on eth0",
    ),
    "V05-anycast-address": (
        {**VIP6, "address": "2001:db8::", "prefix": 64},
        r"address: is the subnet-router anycast address",
    ),
    "V06-other-name": ({**VIP, "label": "vip"}, r"label: must begin with the interface's name eth0"),
    "V06-sixteen-characters": ({**VIP, "label": "eth0:0123456789a"}, r"label: must have at most 15 characters"),
    "V06-ipv6": ({**VIP6, "label": "eth0:x"}, r"label: is for IPv4"),
    "V07-lnk": ({**VIP, "scope": "lnk"}, r"scope: must be one of global, link, host \(got 'lnk'\)"),
    "V07-ipv6": ({**VIP6, "scope": "link"}, r"scope: follows from the address in IPv6"),
    "V12-longer-than-valid": (
        {**VIP, "preferred_lifetime": 2**32},
        r"preferred_lifetime: must be 0 \(never a source address\) or forever",
    ),
    "V12-finite": ({**VIP, "preferred_lifetime": 60}, r"preferred_lifetime: must be 0"),
    "V14-bridge-port": (
        {**VIP, "interface": "port0"},
        r"interface: belongs to the bridge br0 and receives nothing itself",
    ),
    "V15-on-two-interfaces": ({"vips": [VIP, {**VIP, "interface": "lo"}]}, r"vips\[1\]: duplicate of vips\[0\]"),
    "nodad-of-ipv4": ({**VIP, "nodad": True}, r"nodad: is for IPv6"),
    "nodad-no-boolean": ({**VIP, "nodad": "maybe"}, r"nodad: must be true or false"),
    "broadcast-of-a-host": ({**VIP, "broadcast": "+"}, r"broadcast: a /32 network has none"),
    "broadcast-of-ipv6": ({**VIP, "broadcast": "2001:db8::1"}, r"broadcast: must be an IPv4 address"),
    "broadcast-for-ipv6": ({**VIP6, "broadcast": "+"}, r"broadcast: is for IPv4"),
    "probe-no-boolean": ({**VIP, "probe": "perhaps"}, r"probe: must be true or false"),
    "all-at-once": ({**VIP, "prefix": "x", "scope": "y"}, r"prefix: .*; scope: "),
}


@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(host: Host, run: Any, params: Any, message: str) -> None:
    refused = run(**params)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert host.kernel.writes == []
    assert host.packets.sent == []
    assert run(check=True, **params)["msg"] == refused["msg"]


@pytest.mark.parametrize("kind", ["bond", "team", "vrf"])
def test_v14_a_port_receives_nothing_unless_of_a_vrf(host: Host, run: Any, kind: str) -> None:
    host.kernel.table["port0"] = host.kernel.table["port0"]._replace(master="m0", master_kind=kind)
    done = run(**{**VIP, "interface": "port0"})
    assert done["failed"] == (kind != "vrf")
    assert not done["failed"] or "interface: belongs to the " + kind + " m0 and receives nothing" in done["msg"]
    assert bool(host.kernel.writes) == (kind == "vrf")


def test_v16_ipv6_disabled_on_the_interface(host: Host, run: Any) -> None:
    host.sysctl("ipv6", "eth0", "disable_ipv6", 1)
    expected = "interface: IPv6 is disabled here (net.ipv6.conf.eth0.disable_ipv6) (got 'eth0')"
    assert run(**VIP6)["msg"] == expected
    assert not run(**VIP)["failed"]


def test_v01_the_prefix_is_the_whole_address_by_default(host: Host, run: Any) -> None:
    assert [vip["prefix"] for vip in run(vips=[VIP, VIP6])["vips"]] == [32, 128]


def test_in_check_mode_the_interface_and_the_arp_sysctls_may_be_assumed(host: Host, run: Any) -> None:
    host.sysctl("ipv4", "eth0", "arp_ignore", 0)
    vips = [{**VIP, "interface": "dummy7"}, {**VIP, "address": "192.0.2.20", "interface": "lo"}]
    assert "no such interface" in run(vips=vips, check=True)["msg"]
    prepared = ["dummy7", "net.ipv4.conf.all.arp_ignore"]
    planned = run(vips=vips, check=True, assume_prepared=prepared)
    assert (planned["failed"], planned["warnings"], len(planned["operations"])) == (False, [], 2)
    [warning] = run(vips=vips, check=True, assume_prepared=["dummy7"])["warnings"]
    assert "arp_ignore is 0 on eth0" in warning
    assert "no such interface" in run(vips=vips, assume_prepared=prepared)["msg"]


@pytest.mark.parametrize("interface", ["lo", "dummy0"])
def test_v08_warns_where_the_host_would_answer_arp_for_it(host: Host, run: Any, interface: str) -> None:
    assert run(address="192.0.2.20", interface=interface)["warnings"] == []
    host.sysctl("ipv4", "eth0", "arp_ignore", 0)
    (warning,) = run(**{**VIP, "interface": interface})["warnings"]
    assert warning.startswith("interface: set the ARP sysctls first")
    assert "arp_ignore is 0 on eth0" in warning
    host.sysctl("ipv4", "all", "arp_ignore", 1)
    assert run(address="192.0.2.11", interface=interface)["warnings"] == []


def test_v08_warns_where_networkd_would_take_the_address_away(host: Host, run: Any, tmp_path: Any) -> None:
    for name, text in ((_networkd.STATE, ""), (f"{_networkd.LINKS}/2", "NETWORK_FILE=/etc/systemd/network/a.network")):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    told = (
        "interface: systemd-networkd takes addresses away that it does not know when it restarts, as netplan apply "
        "does: set KeepConfiguration=static in the section [Network] of a.network, or of a drop-in to it (got 'eth0')"
    )
    for check in (True, False):
        done = run(vips=[VIP, VIP6, {"address": "192.0.2.20", "interface": "lo"}], check=check)
        assert done["warnings"] == [told]
    assert run(vips=[VIP], state="absent")["warnings"] == []
    assert run(**{**VIP, "interface": "lo"})["warnings"] == []
    unit = tmp_path / "root/etc/systemd/network/a.network"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Network]\nKeepConfiguration=static\n")
    assert run(**VIP)["warnings"] == []


def test_v13_warns_of_an_interface_that_is_down(host: Host, run: Any) -> None:
    (warning,) = run(**{**VIP, "interface": "eth1"})["warnings"]
    assert warning.startswith("interface: is down")


def test_forever_is_the_default_lifetime(host: Host, run: Any) -> None:
    run(**VIP, preferred_lifetime="forever")
    assert host.kernel.writes[0][1].preferred_lifetime == FOREVER
    assert not run(**VIP)["changed"]
