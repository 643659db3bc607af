# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_tunnel: the whole module on a kernel that keeps the real one's rules for tunnel devices and GUE listeners."""

from __future__ import annotations

import errno
import json
import re
import socket
from typing import Any, Callable, Optional

import pytest

from plugins.module_utils import _kernel, _module, _tunnel_task
from plugins.module_utils._errors import KernelRefused
from plugins.module_utils._rtnl import Address
from plugins.module_utils._rtnl_tunnel import Device
from plugins.modules import ipvs_tunnel


def ip(written: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in written else socket.AF_INET, written)


LOCAL, LOCAL6 = "198.51.100.11", "2001:db8::11"


class FakeHost:
    """Devices, addresses, listeners and modules; every write is in ``writes``."""

    def __init__(self) -> None:
        self.table = {
            "lo": Device("lo", up=True),
            "eth0": Device("eth0", up=True),
            "tunl0": Device("tunl0", "ipip", protocol=4),
            "their0": Device("their0", "ipip", ip("198.51.100.12"), protocol=4, alias="l4lb.ipvsx", up=True),
        }
        self.held = [
            Address(ip("127.0.0.1"), "lo", 8, scope="host", protocol=1),
            Address(ip(LOCAL), "eth0", 24, protocol=0),
            Address(ip("198.51.100.12"), "eth0", 24, protocol=0),
            Address(ip(LOCAL6), "eth0", 64, protocol=0),
        ]
        self.fou: list[dict[str, Any]] = []
        self.loaded = {"fou"}
        self.unknown: set[str] = set()
        self.writes: list[str] = []
        self.refuse: dict[str, int] = {}

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *dummy: object) -> None:
        pass

    def links(self) -> None:
        pass

    def addresses(self) -> list[Address]:
        return self.held

    def devices(self) -> dict[str, Device]:
        return dict(self.table)

    def add_device(self, device: Device) -> None:
        self._write("add", device.name)
        ends = [(other.kind, other.local, other.remote) for other in self.table.values() if other.kind != "dummy"]
        if device.name in self.table or (device.kind, device.local, device.remote) in ends:
            raise KernelRefused("File exists", errno.EEXIST)
        self.table[device.name] = device

    def set_device(self, device: Device) -> None:
        self._write("set", device.name)
        self.table[device.name] = self.table[device.name]._replace(alias=device.alias, up=True)

    def remove_device(self, device: Device) -> None:
        self._write("remove", device.name)
        del self.table[device.name]
        self.held = [address for address in self.held if address.interface != device.name]

    def _write(self, verb: str, name: str) -> None:
        self.writes.append(f"{verb} {name}")
        number = self.refuse.get(f"{verb} {name}")
        if number:
            raise KernelRefused("refused by the test", number)

    def run(self, argv: list[str], data: Optional[str] = None) -> tuple[int, str, str]:
        if argv == ["ip", "-j", "fou", "show"]:
            assert "fou" in self.loaded  # otherwise the real one fails
            return 0, json.dumps(self.fou), ""
        self.writes.append(" ".join(argv))
        if argv[0] == "modprobe":
            if argv[1] in self.unknown:
                return 1, "", f"modprobe: FATAL: Module {argv[1]} not found."
            self.loaded.add(argv[1])
            return 0, "", ""
        assert argv[:2] == ["ip", "fou"]
        verb, entry = argv[2], {"port": int(argv[4]), "family": "inet6" if argv[-1] == "-6" else "inet"}
        if verb == "add":
            assert argv[5] == "gue"
            if "fou" not in self.loaded:
                return 2, "", "RTNETLINK answers: No such file or directory"
            if entry["port"] == 53:
                return 2, "", "RTNETLINK answers: Address already in use"
            self.fou.append({**entry, "gue": None})
        else:
            self.fou = [one for one in self.fou if {**one, "gue": None} != {**entry, "gue": None}]
        return 0, "", ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost()
    monkeypatch.setattr(_tunnel_task, "open_kernel", lambda: made)
    monkeypatch.setattr(_module.Task, "run", lambda dummy, argv, data=None: made.run(argv, data))
    monkeypatch.setattr(_kernel, "module_known", lambda name: name not in made.unknown)
    monkeypatch.setattr("plugins.module_utils._fou.module_loaded", lambda name: name in made.loaded)
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name in made.loaded)
    return made


@pytest.fixture
def run(run_main: Callable[..., Any]) -> Callable[..., Any]:
    def call(check: bool = False, **params: Any) -> Any:
        return run_main(ipvs_tunnel.main, params, check=check)

    return call


def ours(host: FakeHost) -> list[str]:
    return sorted(name for name, device in host.table.items() if device.alias.split()[:1] == ["l4lb.ipvs"])


def ports(host: FakeHost) -> list[tuple[int, str]]:
    return sorted((one["port"], one["family"]) for one in host.fou)


IPIP = {"name": "ipvs4", "type": "ipip", "local": LOCAL}
GRE = {"name": "ipvs-gre", "type": "gre", "local": LOCAL}
GUE = {"name": "ipvs-gue", "type": "gue", "local": LOCAL, "ports": [6080]}
DUMMY = {"name": "vips", "type": "dummy"}
LINE = "ipvs4 type sit mode any local 198.51.100.11 remote any up"


def test_adds_one_in_the_four_modes(host: FakeHost, run: Any) -> None:
    checked = run(check=True, tunnels=[IPIP])
    assert checked["changed"]
    assert host.writes == []
    done = run(tunnels=[IPIP])
    assert done == checked
    assert done["operations"] == [f"add link {LINE}"]
    assert done["diff"] == {"before": "", "after": f"{LINE}\n"}
    assert done["tunnels"] == [IPIP]
    assert done["kernel_modules"] == ["sit"]
    assert host.table["ipvs4"] == Device("ipvs4", "sit", ip(LOCAL), b"", 0, False, "l4lb.ipvs", True)
    for again in (run(tunnels=[IPIP]), run(check=True, tunnels=[IPIP]), run(tunnels=done["tunnels"], purge="owned")):
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"] == f"{LINE}\n"
    assert host.writes == ["add ipvs4"]


VARIANTS = [
    ({"type": "ipip", "local": LOCAL, "family": "ipv4"}, ("ipip", 4), "type ipip mode ipip", ["ipip"]),
    ({"type": "ipip", "local": LOCAL, "family": "ipv6"}, ("sit", 41), "type sit mode ip6ip", ["sit"]),
    ({"type": "ipip", "local": LOCAL6}, ("ip6tnl", 0), "type ip6tnl mode any", ["ip6_tunnel"]),
    ({"type": "ipip", "local": LOCAL6, "family": "ipv4"}, ("ip6tnl", 4), "type ip6tnl mode ipip6", ["ip6_tunnel"]),
    ({"type": "ipip", "local": LOCAL6, "family": "ipv6"}, ("ip6tnl", 41), "type ip6tnl mode ip6ip6", ["ip6_tunnel"]),
    ({"type": "gre", "local": LOCAL}, ("gre", None), "type gre", ["ip_gre"]),
    ({"type": "gre", "local": LOCAL6}, ("ip6gre", None), "type ip6gre", ["ip6_gre"]),
    ({"type": "gue", "local": LOCAL, "ports": [6080]}, ("sit", 0), "type sit mode any", ["fou", "sit"]),
    (
        {"type": "gue", "local": LOCAL6, "ports": [6080], "family": "ipv6"},
        ("ip6tnl", 41),
        "type ip6tnl mode ip6ip6",
        ["fou", "ip6_tunnel"],
    ),
]


@pytest.mark.parametrize(("wish", "kind", "words", "modules"), VARIANTS, ids=[str(i) for i in range(len(VARIANTS))])
def test_each_variant_makes_its_kind(host: FakeHost, run: Any, wish: Any, kind: Any, words: str, modules: Any) -> None:
    done = run(tunnels=[{"name": "t", **wish}])
    device = host.table["t"]
    assert (device.kind, device.protocol, device.local, device.remote) == (*kind, ip(wish["local"]), b"")
    assert done["operations"][0].startswith(f"add link t {words} local {wish['local']} remote any ")
    assert done["kernel_modules"] == modules
    assert not run(tunnels=done["tunnels"])["changed"]


def test_a_dummy_is_made_marked_and_removed_as_a_tunnel_is(host: FakeHost, run: Any) -> None:
    host.table["dummy0"] = Device("dummy0", "dummy")
    both = [DUMMY, {**DUMMY, "name": "vips2"}]
    checked = run(check=True, tunnels=both)
    assert host.writes == []
    done = run(tunnels=both)
    assert done == checked
    assert host.table["vips"] == Device("vips", "dummy", alias="l4lb.ipvs", up=True)
    assert done["operations"] == ["add link vips type dummy up", "add link vips2 type dummy up"]
    assert (done["tunnels"], done["kernel_modules"]) == (both, ["dummy"])
    assert not run(tunnels=done["tunnels"], purge="owned")["changed"]
    assert run(tunnels=[DUMMY], purge="owned")["operations"] == ["remove link vips2"]
    assert run(tunnels=[DUMMY], state="absent")["operations"] == ["remove link vips"]
    refused = run(tunnels=[{**DUMMY, "name": "dummy0"}])["msg"]
    assert "tunnels[0].name: is a device of somebody else (kind dummy)" in refused


def test_a_tunnel_does_not_become_a_dummy_in_place(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP])
    refused = run(tunnels=[{**DUMMY, "name": "ipvs4"}])["msg"]
    assert "tunnels[0].name: exists with another kind, local, protocol: remove the tunnel first" in refused


def test_a_remote_and_a_gre_checksum_arrive(host: FakeHost, run: Any) -> None:
    done = run(tunnels=[{**GRE, "remote": "198.51.100.1", "checksum": "csum"}])
    device = host.table["ipvs-gre"]
    assert (device.remote, device.checksum) == (ip("198.51.100.1"), True)
    assert done["operations"] == [
        "add link ipvs-gre type gre local 198.51.100.11 remote 198.51.100.1 icsum up",
    ]
    assert not run(tunnels=done["tunnels"])["changed"]


def test_gue_opens_its_ports_and_says_whose_they_are(host: FakeHost, run: Any) -> None:
    host.loaded.clear()
    checked = run(check=True, tunnels=[{**GUE, "ports": [6080, 6081], "checksum": "remcsum"}])
    assert host.writes == []
    done = run(tunnels=[{**GUE, "ports": [6080, 6081], "checksum": "remcsum"}])
    assert done == checked
    assert ports(host) == [(6080, "inet"), (6081, "inet")]
    assert host.writes[:2] == ["add ipvs-gue", "modprobe fou"]
    assert host.table["ipvs-gue"].alias == "l4lb.ipvs gue 6080 6081"
    assert host.table["ipvs-gue"].checksum is False
    assert done["operations"][1:] == ["add fou port 6080 gue", "add fou port 6081 gue"]
    assert not run(tunnels=done["tunnels"])["changed"]


def test_a_gue_device_takes_every_checksum(host: FakeHost, run: Any) -> None:
    run(tunnels=[GUE])
    for checksum in ("none", "csum", "remcsum"):
        assert not run(tunnels=[{**GUE, "checksum": checksum}])["changed"]


def test_a_port_of_ipv6_is_another(host: FakeHost, run: Any) -> None:
    run(tunnels=[GUE, {**GUE, "name": "ipvs-gue6", "local": LOCAL6}])
    assert ports(host) == [(6080, "inet"), (6080, "inet6")]
    assert "ip fou add port 6080 gue -6" in host.writes
    assert run(tunnels=[{"name": "ipvs-gue"}], state="absent")["changed"]
    assert ports(host) == [(6080, "inet6")]


def test_ports_change_in_place(host: FakeHost, run: Any) -> None:
    run(tunnels=[GUE])
    host.writes.clear()
    done = run(tunnels=[{**GUE, "ports": [6081]}])
    assert host.writes == ["set ipvs-gue", "ip fou add port 6081 gue", "ip fou del port 6080"]
    assert ports(host) == [(6081, "inet")]
    assert done["diff"]["before"] == done["diff"]["after"].replace("6081", "6080")
    assert not run(tunnels=done["tunnels"])["changed"]


def test_from_gue_to_ipip_and_back(host: FakeHost, run: Any) -> None:
    run(tunnels=[GUE])
    assert run(tunnels=[{"name": "ipvs-gue", "type": "ipip", "local": LOCAL}])["changed"]
    assert ports(host) == []
    assert run(tunnels=[GUE])["changed"]
    assert ports(host) == [(6080, "inet")]


@pytest.mark.parametrize("wish", [{**GUE, "ports": [6081]}, {"name": "ipvs-gue", "type": "ipip", "local": LOCAL}])
def test_former_ports_are_kept_as_long_as_that_is_asked_for(host: FakeHost, run: Any, wish: Any) -> None:
    wanted = [(port, "inet") for port in wish.get("ports", ())]
    run(tunnels=[GUE])
    assert run(tunnels=[wish], keep_former=True)["changed"] == bool(wanted)
    assert sorted(ports(host)) == [(6080, "inet"), *wanted]
    assert not run(tunnels=[wish], keep_former=True)["changed"]
    assert run(tunnels=[wish])["operations"][-1] == "remove fou port 6080 gue"
    assert ports(host) == wanted
    assert not run(tunnels=[wish])["changed"]
    assert run(tunnels=[wish], state="absent", keep_former=True)["failed"]


def test_a_shared_port_stays_until_the_last_one_goes(host: FakeHost, run: Any) -> None:
    both = [GUE, {**GUE, "name": "other", "local": "198.51.100.12"}]
    run(tunnels=both)
    assert ports(host) == [(6080, "inet")]
    assert not run(tunnels=both)["changed"]
    assert run(tunnels=both[:1], purge="owned")["operations"] == ["remove link other"]
    assert ports(host) == [(6080, "inet")]
    run(state="absent", purge="owned")
    assert ports(host) == []


def test_a_listener_of_somebody_else_is_used_and_kept(host: FakeHost, run: Any) -> None:
    host.fou = [{"port": 6080, "gue": None, "family": "inet"}]
    done = run(tunnels=[GUE])
    assert done["kept"] == ["fou port 6080 gue"]
    assert host.table["ipvs-gue"].alias == "l4lb.ipvs gue"
    assert not run(tunnels=[GUE])["changed"]
    assert run(tunnels=[GUE], state="absent")["operations"] == ["remove link ipvs-gue"]
    assert ports(host) == [(6080, "inet")]


@pytest.mark.parametrize("more", [{"ipproto": 4}, {"gue": None, "local": "198.51.100.12"}])
def test_a_listener_for_something_else_is_refused(host: FakeHost, run: Any, more: Any) -> None:
    host.fou = [{"port": 6080, "family": "inet", **more}]
    assert "UDP port 6080 is a listener of somebody else" in run(tunnels=[GUE])["msg"]
    assert host.writes == []


def test_a_listener_that_went_is_added_again(host: FakeHost, run: Any) -> None:
    run(tunnels=[GUE])
    host.fou = []
    assert run(tunnels=[GUE])["operations"] == ["add fou port 6080 gue"]
    host.fou = []
    assert run(tunnels=[GUE], state="absent")["operations"] == ["remove link ipvs-gue"]


def test_sets_up_what_is_down(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP])
    host.table["ipvs4"] = host.table["ipvs4"]._replace(up=False)
    done = run(tunnels=[IPIP])
    assert done["operations"] == [f"set link {LINE}"]
    assert host.table["ipvs4"].up


def test_a_device_of_somebody_else_is_neither_taken_over_nor_removed(host: FakeHost, run: Any) -> None:
    refused = run(tunnels=[{"name": "their0", "type": "ipip", "local": LOCAL}])
    assert "tunnels[0].name: is a device of somebody else (kind ipip) (got 'their0')" in refused["msg"]
    assert not run(tunnels=[{"name": "their0"}], state="absent")["changed"]
    assert not run(state="absent", purge="owned")["changed"]
    assert host.writes == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"local": "198.51.100.12"}, "local"),
        ({"remote": "198.51.100.1"}, "remote"),
        ({"family": "ipv4"}, "kind, protocol"),
        ({"type": "gre"}, "kind, protocol"),
    ],
)
def test_what_cannot_change_in_place_is_refused(host: FakeHost, run: Any, change: Any, what: str) -> None:
    run(tunnels=[IPIP])
    host.writes.clear()
    for check in (True, False):
        refused = run(check=check, tunnels=[{**IPIP, **change}])
        assert f"tunnels[0].name: exists with another {what}: remove the tunnel first" in refused["msg"]
    assert host.writes == []


def test_removes_its_own_and_purges_nothing_else(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP, GRE])
    assert not run(tunnels=[IPIP])["changed"]
    checked = run(check=True, tunnels=[IPIP], purge="owned")
    assert ours(host) == ["ipvs-gre", "ipvs4"]
    assert run(tunnels=[IPIP], purge="owned") == checked
    assert ours(host) == ["ipvs4"]
    done = run(tunnels=[IPIP], state="absent")
    assert done["operations"] == ["remove link ipvs4"]
    assert done["diff"] == {"before": f"{LINE}\n", "after": ""}
    assert not run(tunnels=[IPIP], state="absent")["changed"]
    assert {"tunl0", "their0"} <= set(host.table)


def test_a_purge_looks_only_at_its_interfaces(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP, {"name": "one", "type": "dummy"}, {"name": "two", "type": "dummy"}])
    assert run(tunnels=[IPIP], purge="owned", purge_interfaces=["one"])["operations"] == ["remove link one"]
    done = run(state="absent", purge="owned", purge_interfaces=["two"])
    assert done["operations"] == ["remove link two"]
    told = run(tunnels=[IPIP], purge_interfaces=["two"])["msg"]
    assert told == "purge_interfaces: means nothing without purge owned (got ['two'])"


def test_an_empty_list_does_not_purge_everything(host: FakeHost, run: Any) -> None:
    assert not run(tunnels=[], purge="owned")["failed"]
    run(tunnels=[IPIP])
    assert "tunnels: is empty and purge would remove all 1" in run(tunnels=[], purge="owned")["msg"]
    assert run(state="absent", purge="owned")["changed"]


def test_t11_addresses_of_somebody_else_keep_a_device(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP])
    host.held += [
        Address(ip("192.0.2.10"), "ipvs4", 32),
        Address(ip("fe80::1"), "ipvs4", 64, scope="link", protocol=2),
        Address(ip("::198.51.100.11"), "ipvs4", 96, protocol=0),
        Address(ip("192.0.2.66"), "ipvs4", 32, protocol=0),
    ]
    refused = run(tunnels=[IPIP], state="absent")
    assert "tunnels: still holds 192.0.2.66/32, which would go with it" in refused["msg"]
    assert ours(host) == ["ipvs4"]


@pytest.mark.parametrize("how", [{"tunnels": [IPIP], "state": "absent"}, {"tunnels": [GRE], "purge": "owned"}])
def test_t11_vips_of_ours_go_with_a_device_and_are_named(host: FakeHost, run: Any, how: Any) -> None:
    run(tunnels=[IPIP, GRE])
    host.held += [
        Address(ip("192.0.2.10"), "ipvs4", 32),
        Address(ip("2001:db8:1::10"), "ipvs4", 128),
        Address(ip("fe80::1"), "ipvs4", 64, scope="link", protocol=2),
        Address(ip("::198.51.100.11"), "ipvs4", 96, protocol=0),
        Address(ip("192.0.2.11"), "ipvs-gre", 32),
    ]
    checked = run(check=True, **how)
    done = run(**how)
    assert done["operations"] == ["remove link ipvs4"]
    for told in (checked, done):
        assert told["warnings"] == [
            "tunnels: still holds 192.0.2.10/32, 2001:db8:1::10/128, removed with it (got 'ipvs4')"
        ]
    assert run(**how)["warnings"] == []


def test_an_older_kernel_cannot_tell_whose_addresses_they_are(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP])
    host.held = [address._replace(protocol=0) for address in host.held]
    host.held.append(Address(ip("192.0.2.10"), "ipvs4", 32, protocol=0))
    done = run(tunnels=[IPIP], state="absent")
    assert done["changed"]
    assert done["warnings"] == ["tunnels: still holds 192.0.2.10/32, removed with it (got 'ipvs4')"]


# failures


def test_nothing_is_removed_after_a_failure(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP])
    wanted = [GRE, {**GUE, "local": "198.51.100.12", "ports": [6080, 53, 6082]}]
    refused = run(tunnels=wanted, purge="owned")
    assert (
        refused["msg"]
        == "cannot add fou port 53 gue: ip fou add port 53 gue: RTNETLINK answers: Address already in use"
    )
    assert refused["changed"]
    assert [line.split(" type")[0] for line in refused["outcome"]["applied"]] == [
        "add link ipvs-gre",
        "add link ipvs-gue",
        "add fou port 6080 gue",
    ]
    assert refused["outcome"]["not_attempted"] == ["add fou port 6082 gue", "remove link ipvs4"]
    assert "ipvs4" in ours(host)


def test_a_refusal_of_the_kernel_is_told(host: FakeHost, run: Any) -> None:
    host.refuse["add ipvs4"] = errno.EOPNOTSUPP
    refused = run(tunnels=[IPIP])
    assert refused["msg"] == f"cannot add link {LINE}: refused by the test"
    assert not refused["changed"]


def test_a_device_gone_meanwhile_is_no_failure(host: FakeHost, run: Any) -> None:
    run(tunnels=[IPIP])
    host.refuse["remove ipvs4"] = errno.ENODEV
    assert not run(tunnels=[IPIP], state="absent")["failed"]


def test_a_module_that_cannot_be_loaded(host: FakeHost, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host.loaded.clear()
    host.unknown.add("fou")
    monkeypatch.setattr(_kernel, "module_known", lambda name: True)
    assert "the kernel module fou cannot be loaded: modprobe: FATAL" in run(tunnels=[GUE])["msg"]


def test_listeners_that_are_not_understood(host: FakeHost, run: Any) -> None:
    host.fou = [{"gue": None}]
    assert run(tunnels=[GUE])["msg"].startswith("ip -j fou show: not understood: ")


# bad input: nothing is written, and check mode says the same


def one(**change: Any) -> dict[str, Any]:
    return {"tunnels": [{**IPIP, **change}]}


BAD = {
    "C02-nothing": ({}, r"tunnels: is required"),
    "C02-type-and-local": (
        {"tunnels": [IPIP, {"name": "x"}]},
        r"tunnels\[1\]\.type: is required; tunnels\[1\]\.local: is required",
    ),
    "C05-right-to-left-override": (one(name="a\u202eb"), r"name: invalid character at offset 1"),
    "C07-two-bad-ports": (
        {"tunnels": [{**GUE, "ports": ["x", 6080, 0]}]},
        r"^tunnels\[0\]\.ports\[0\]: must be a decimal integer 1\.\.65535 \(got 'x'\); "
        r"tunnels\[0\]\.ports\[2\]: must be an integer 1\.\.65535 \(got 0\)$",
    ),
    "C08-port-0": ({"tunnels": [{**GUE, "ports": [0]}]}, r"ports\[0\]: must be an integer 1\.\.65535"),
    "C03-port-for-ports": ({"tunnels": [{**GUE, "ports": 6080}]}, r"ports: must be a list"),
    "C09-too-many-ports": ({"tunnels": [{**GUE, "ports": list(range(1, 67))}]}, r"ports: must have at most 64 items"),
    "C09-too-many": ({"tunnels": [IPIP] * 1001}, r"tunnels: must have at most 1000 items"),
    "C15-same-name": ({"tunnels": [IPIP, {**GRE, "name": "ipvs4"}]}, r"tunnels\[1\]\.name: duplicate of tunnels\[0\]"),
    "host-name": (one(local="host.example"), r"local: must be an IP address; host names are not resolved"),
    "loopback-address": (one(local="127.0.0.1"), r"local: must not be a loopback address"),
    "unspecified-address": (one(local="0.0.0.0"), r"local: must not be the unspecified address"),
    "not-an-address-of-this-host": (one(local="192.0.2.99"), r"local: is not an address of this host"),
    "T01-tunl0": (one(name="tunl0"), r"name: is a device of the kernel's own"),
    "T02-local-is-remote": (one(remote=LOCAL), r"remote: must differ from local"),
    "T03-remote-of-the-other-family": (one(remote="2001:db8::1"), r"remote: must be of the same family as local"),
    # these have no option here
    "T04-no-ttl": (one(ttl=256), r"ttl: unknown key"),
    "T05-no-mtu": (one(mtu=67), r"mtu: unknown key"),
    "T06-no-key": (one(key=7), r"key: unknown key"),
    "T10-no-dev": (one(dev="eth9"), r"dev: unknown key"),
    "T13-no-encaplimit": (one(encaplimit=300), r"encaplimit: unknown key"),
    "T07-in-the-list": (
        {"tunnels": [IPIP, {**GUE}]},
        r"tunnels\[1\]\.local: the kernel allows one device with these ends, and tunnels\[0\]",
    ),
    "T07-on-the-host": (
        {"tunnels": [{**IPIP, "local": "198.51.100.12", "family": "ipv4"}]},
        r"local: the kernel allows one device with these ends, and their0 has them",
    ),
    "T08-own-address": (one(remote="198.51.100.12"), r"remote: is an address of this host itself"),
    "T09-multicast": (one(remote="224.0.0.1"), r"remote: must be a unicast address"),
    "unknown-type": (one(type="vxlan"), r"type: must be one of ipip, gre, gue, dummy"),
    "unknown-family": (one(family="inet"), r"family: must be one of ipv4, ipv6, any"),
    "gre-with-family": ({"tunnels": [{**GRE, "family": "ipv4"}]}, r"family: a gre device takes both families"),
    "gue-without-a-port": ({"tunnels": [{**GUE, "ports": []}]}, r"ports: is required with type gue"),
    "gue-without-ports": (one(type="gue"), r"ports: is required with type gue"),
    "same-port-twice": ({"tunnels": [{**GUE, "ports": [6080, 6080]}]}, r"ports: must not name a thing twice"),
    "C11-ports-of-another-type": (one(ports=[6080]), r"ports: is for type gue"),
    "C11-checksum-of-another-type": (one(checksum="csum"), r"checksum: is for types gre and gue"),
    "C11-keys-of-a-tunnel": (
        {"tunnels": [{**DUMMY, "local": LOCAL, "remote": LOCAL, "family": "ipv4", "checksum": "csum"}]},
        r"local: is for tunnels: .*remote: is for tunnels: .*family: is for tunnels: .*checksum: is for types gre and",
    ),
    "C15-two-dummies-of-a-name": ({"tunnels": [DUMMY, DUMMY]}, r"tunnels\[1\]\.name: duplicate of tunnels\[0\]"),
    "C11-remcsum-of-gre": (
        {"tunnels": [{**GRE, "checksum": "remcsum"}]},
        r"checksum: must be none or csum with type gre",
    ),
    "all-at-once": (one(type="x", family="y"), r"type: .*; tunnels\[0\]\.family: "),
}


@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(host: FakeHost, run: Any, params: Any, message: str) -> None:
    refused = run(**params)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert host.writes == []
    assert run(check=True, **params)["msg"] == refused["msg"]


def test_t12_a_kernel_without_the_type(host: FakeHost, run: Any) -> None:
    host.unknown.update(("fou", "sit"))
    assert run(tunnels=[GUE])["msg"] == "tunnels[0].type: this kernel has no module sit, fou (got 'gue')"
    assert host.writes == []
