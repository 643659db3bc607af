# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_snat: the whole module on an nft that keeps tables and numbers their objects as the real one does."""

from __future__ import annotations

import copy
import re
from typing import Any, Callable, NamedTuple, Optional

import pytest

from plugins.module_utils import _kernel, _snat, _snat_task
from plugins.module_utils._errors import Unavailable
from plugins.modules import ipvs_snat
from tests.unit.fake_nft import FakeNft


@pytest.fixture
def nft(fake_nft: FakeNft, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> FakeNft:
    fake_nft.local = {"198.51.100.1", "2001:db8:1::1"}
    (tmp_path / "conntrack").write_text("1\n")
    monkeypatch.setattr(_snat_task, "CONNTRACK", str(tmp_path / "conntrack"))
    return fake_nft


ENDED = "Operation failed: such conntrack doesn't exist"


class Connection(NamedTuple):
    service: str  # protocol, destination and port of the first packet
    answered_by: str
    family: str = "ipv4"


class FakeConntrack:
    """Tells and deletes connections as conntrack 1.4.7 does. ``error`` is what it says instead; ``ending`` is how
    many connections end by themselves, each while it is about to delete it.
    """

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.error = ""
        self.ending = 0
        self.calls = 0
        self.installed = True

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        if not self.installed:
            raise Unavailable("the command conntrack is not installed on this host")
        self.calls += 1
        if argv[1:] == ["--version"]:
            return 0, "conntrack v1.4.7 (conntrack-tools)\n", ""
        command, action, *rest = argv
        options = dict(zip(rest[::2], rest[1::2]))
        if self.error:
            return 1, "", f"conntrack v1.4.7 (conntrack-tools): {self.error}\n"
        assert command == "conntrack"
        wanted = tuple(options.pop(name, "") for name in ("-f", "-p", "--orig-dst", "--dport", "--reply-src"))
        assert not options
        found = []
        for one in self.connections:
            has = (one.family, *one.service.split(" "), one.answered_by)
            if all(left in ("", right) for left, right in zip(wanted, has)):
                found.append(one)
        if action == "-D" and self.ending and len(found) > 1:
            self.ending -= 1
            deleted, ended = found[:2]
            self.connections = [one for one in self.connections if one is not deleted and one is not ended]
            return 1, f"{deleted}\n", f"conntrack v1.4.7 (conntrack-tools): {ENDED}\n"
        if action == "-D":
            self.connections = [one for one in self.connections if one not in found]
        done = {"-D": "deleted", "-L": "shown"}[action]
        status = 1 if action == "-D" and not found else 0
        said = f"conntrack v1.4.7 (conntrack-tools): {len(found)} flow entries have been {done}.\n"
        return status, "".join(f"{one}\n" for one in found), said


@pytest.fixture
def conntrack(nft: FakeNft, monkeypatch: pytest.MonkeyPatch) -> FakeConntrack:
    fake = FakeConntrack()
    run_nft = nft.run
    monkeypatch.setattr(
        nft, "run", lambda argv, data=None: fake.run(argv) if argv[0] == "conntrack" else run_nft(argv, data)
    )
    return fake


@pytest.fixture
def run(run_main: Callable[..., Any]) -> Callable[..., Any]:
    def call(check: bool = False, **params: Any) -> Any:
        purge = {} if "state" in params else {"purge": "owned"}
        return run_main(ipvs_snat.main, {**purge, **params}, check=check)

    return call


SERVICE = {"address": "192.0.2.10", "port": 443}
SERVER = {"address": "198.51.100.11", "port": 8443}
FLOW = {"service": SERVICE, "server": SERVER}
FLOW6 = {
    "service": {"address": "2001:db8::10", "port": 53, "protocol": "udp"},
    "server": {"address": "2001:db8:1::11"},
    "source": "2001:db8:1::1",
}
EVERY_KIND = [
    FLOW,
    {"service": SERVICE, "server": {"address": "198.51.100.12", "port": 8443}, "source": "198.51.100.1"},
    {"service": {**SERVICE, "protocol": "udp"}, "server": SERVER},
    {"service": {**SERVICE, "protocol": "sctp"}, "server": SERVER},
    {"service": {**SERVICE, "port": 0}, "server": {"address": "198.51.100.11"}},
    {
        "service": {**SERVICE, "port": 0, "protocol": "udp"},
        "server": {"address": "198.51.100.11"},
        "source": "192.0.2.10",
    },
    {"service": {"fwmark": 7, "family": "ipv4"}, "server": {"address": "198.51.100.11"}},
    {"service": {"fwmark": 7, "family": "ipv6"}, "server": {"address": "2001:db8:1::11"}},
    FLOW6,
]


def test_the_four_modes(nft: FakeNft, run: Any) -> None:
    checked = run(check=True, flows=[FLOW])
    assert checked["changed"]
    assert nft.writes == []
    done = run(flows=[FLOW])
    assert done == checked
    line = "table ip l4lb_snat: tcp 192.0.2.10:443 -> 198.51.100.11:8443 masquerade\n"
    assert done["diff"] == {"before": "", "after": line}
    assert done["flows"] == [{"service": {**SERVICE, "protocol": "tcp"}, "server": SERVER}]
    assert list(nft.tables) == [("ip", "l4lb_snat")]
    for again in (run(flows=[FLOW]), run(check=True, flows=[FLOW]), run(flows=done["flows"])):
        assert not again["changed"]
        assert again["diff"] == {"before": line, "after": line}
    assert len(nft.writes) == 1


def test_every_kind_of_flow(nft: FakeNft, run: Any) -> None:
    done = run(flows=EVERY_KIND)
    assert done["diff"]["after"].splitlines() == [
        "table ip l4lb_snat: tcp 192.0.2.10:443 -> 198.51.100.11:8443 masquerade",
        "table ip l4lb_snat: tcp 192.0.2.10:443 -> 198.51.100.12:8443 snat to 198.51.100.1",
        "table ip l4lb_snat: udp 192.0.2.10:443 -> 198.51.100.11:8443 masquerade",
        "table ip l4lb_snat: sctp 192.0.2.10:443 -> 198.51.100.11:8443 masquerade",
        "table ip l4lb_snat: tcp 192.0.2.10 -> 198.51.100.11 masquerade",
        "table ip l4lb_snat: udp 192.0.2.10 -> 198.51.100.11 snat to 192.0.2.10",
        "table ip l4lb_snat: mark 7 -> 198.51.100.11 masquerade",
        "table ip6 l4lb_snat: udp [2001:db8::10]:53 -> [2001:db8:1::11]:53 snat to 2001:db8:1::1",
        "table ip6 l4lb_snat: mark 7 -> 2001:db8:1::11 masquerade",
    ]
    assert not run(flows=done["flows"])["changed"]
    # the order of the task does not matter
    assert not run(flows=done["flows"][::-1])["changed"]


def test_one_transaction_for_both_families(nft: FakeNft, run: Any) -> None:
    run(flows=[FLOW, FLOW6])
    (text,) = nft.writes
    assert "table ip l4lb_snat\ndelete table ip l4lb_snat\ntable ip l4lb_snat {\n" in text
    assert "table ip6 l4lb_snat\ndelete table ip6 l4lb_snat\ntable ip6 l4lb_snat {\n" in text
    assert "flush" not in text


def test_only_the_table_that_differs_is_replaced(nft: FakeNft, run: Any) -> None:
    run(flows=[FLOW, FLOW6])
    run(flows=[FLOW, {**FLOW6, "source": "2001:db8::10"}])
    assert "table ip l4lb_snat" not in nft.writes[-1]


def test_what_is_not_listed_is_kept_unless_it_is_purged(nft: FakeNft, run: Any) -> None:
    run(flows=[FLOW, FLOW6])
    kept = run(flows=[{**FLOW, "source": "192.0.2.10"}], purge="none")
    assert kept["unlisted"] == 1
    assert kept["diff"]["after"].splitlines() == [
        "table ip l4lb_snat: tcp 192.0.2.10:443 -> 198.51.100.11:8443 snat to 192.0.2.10",
        "table ip6 l4lb_snat: udp [2001:db8::10]:53 -> [2001:db8:1::11]:53 snat to 2001:db8:1::1",
    ]
    left = run(flows=[], purge="none")
    assert (left["changed"], left["unlisted"]) == (False, 2)
    only = run(flows=[FLOW6, {**FLOW, "server": {**SERVER, "port": 8444}}], purge="only", check=True)
    assert only["diff"]["after"].splitlines() == left["diff"]["after"].splitlines()[1:]
    gone = run(flows=[], purge="owned")
    assert (gone["changed"], gone["unlisted"]) == (True, 2)
    assert nft.tables == {}
    assert run(flows=[FLOW], purge="none")["unlisted"] == 0


def test_check_mode_does_not_load_nf_tables(nft: FakeNft, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name != "nf_tables")
    monkeypatch.setattr(nft, "run", lambda argv, data: pytest.fail(f"ran {argv}"))
    assert run(check=True, flows=[FLOW])["changed"]


def test_a_family_without_flows_has_no_table(nft: FakeNft, run: Any) -> None:
    run(flows=[FLOW, FLOW6])
    done = run(flows=[FLOW6])
    assert nft.writes[-1] == "table ip l4lb_snat\ndelete table ip l4lb_snat\n"
    assert "-" not in done["diff"]["after"].replace("->", "")
    assert list(nft.tables) == [("ip6", "l4lb_snat")]


@pytest.mark.parametrize("params", [{"state": "absent"}, {"flows": []}])
def test_removal(nft: FakeNft, run: Any, params: Any) -> None:
    run(flows=[FLOW, FLOW6])
    assert run(check=True, **params)["changed"]
    assert len(nft.tables) == 2
    done = run(**params)
    assert done["changed"]
    assert done["diff"]["after"] == ""
    assert nft.tables == {}
    assert not run(**params)["changed"]


def test_f27_n03_other_tables_stay_as_they_are(nft: FakeNft, run: Any) -> None:
    foreign = {
        ("ip", "nat"): [{"chain": {"name": "POSTROUTING", "handle": 1}}],
        ("inet", "l4lb_snat"): [{"chain": {"name": "postrouting", "handle": 1}}],
        ("inet", "firewalld"): [],
    }
    nft.tables.update(foreign)
    for params in ({"flows": [FLOW, FLOW6]}, {"flows": [FLOW]}, {"state": "absent"}):
        assert run(**params)["changed"]
        assert {name: nft.tables[name] for name in foreign} == foreign
        named = set(re.findall(r"table \w+ \w+", nft.writes[-1]))
        assert named <= {"table ip l4lb_snat", "table ip6 l4lb_snat"}
    assert nft.tables == foreign


def touch(objects: list[dict[str, Any]], how: str) -> None:
    rules = [entry["rule"] for entry in objects if "rule" in entry]
    sets = [entry["set"] for entry in objects if "set" in entry]
    last = max(value["handle"] for entry in objects for value in entry.values())
    if how == "rule added":
        objects.append({"rule": {"handle": last + 1}})
    elif how == "rule replaced":
        rules[-1]["handle"] = last + 1
    elif how == "rule deleted":
        objects[:] = [entry for entry in objects if entry != {"rule": rules[-1]}]
    elif how == "first rule replaced":
        rules[0].update(handle=last + 1, comment="")
    elif how == "set replaced":
        sets[0]["handle"] = last + 1
    elif how == "element added":
        sets[0]["elem"].append({"concat": ["192.0.2.99", 1, "198.51.100.99", 1]})
    elif how == "elements deleted":
        del sets[0]["elem"]
    elif how == "every rule deleted":
        objects[:] = [entry for entry in objects if "rule" not in entry]
    else:
        rules[0]["comment"] = "l4lb.ipvs of another version"


@pytest.mark.parametrize(
    "how",
    [
        "rule added",
        "rule replaced",
        "rule deleted",
        "first rule replaced",
        "set replaced",
        "element added",
        "elements deleted",
        "every rule deleted",
        "another form",
    ],
)
def test_a_table_changed_by_another_hand_is_restored(nft: FakeNft, run: Any, how: str) -> None:
    run(flows=EVERY_KIND)
    wanted = copy.deepcopy(nft.tables)
    touch(nft.tables[("ip", "l4lb_snat")], how)
    done = run(flows=EVERY_KIND)
    assert done["changed"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert nft.tables == wanted
    assert not run(flows=EVERY_KIND)["changed"]


def test_a_table_changed_by_another_hand_is_removed(nft: FakeNft, run: Any) -> None:
    nft.tables[("ip", "l4lb_snat")] = [{"chain": {"name": "c", "handle": 7}}]
    done = run(state="absent")
    assert done["diff"] == {"before": "table ip l4lb_snat: changed by another hand\n", "after": ""}
    assert nft.tables == {}


def test_a_refused_transaction_leaves_everything(nft: FakeNft, run: Any) -> None:
    nft.fail["-c -f -"] = "syntax error, unexpected nothing"
    refused = run(flows=[FLOW])
    assert refused["msg"] == "nft could not change the table: Error: syntax error, unexpected nothing"
    assert nft.writes == []
    assert nft.tables == {}


def test_what_the_kernel_does_not_hold_is_told(nft: FakeNft, run: Any) -> None:
    nft.deaf = True
    assert "the kernel does not hold it as written" in run(flows=[FLOW])["msg"]


def test_many_flows_make_few_rules(nft: FakeNft, run: Any) -> None:
    flows = [
        {
            "service": {"address": f"192.0.2.{service % 250 + 1}", "port": 1000 + service},
            "server": {"address": f"198.51.100.{server + 11}", "port": 80},
        }
        for service in range(300)
        for server in range(10)
    ]
    run(flows=flows)
    assert nft.writes[0].count("masquerade\n") + nft.writes[0].count("masquerade comment") == 1
    assert not run(flows=flows)["changed"]


# what the host must have


@pytest.mark.parametrize("value", ["0\n", None])
def test_n11_needs_conntrack(nft: FakeNft, run: Any, value: Optional[str], monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(_snat_task, "CONNTRACK", str(tmp_path / "other"))
    if value:
        (tmp_path / "other").write_text(value)
    refused = run(flows=[FLOW])
    assert refused["msg"].startswith("net.ipv4.vs.conntrack: SNAT of IPVS traffic needs net.ipv4.vs.conntrack=1 (got ")
    assert nft.writes == []
    checked = run(check=True, flows=[FLOW])
    assert checked["changed"]
    assert "SNAT of IPVS traffic needs" in checked["warnings"][0]
    prepared = ["net.ipv4.vs.conntrack"]
    assert run(check=True, flows=[FLOW], assume_prepared=prepared) == {**checked, "warnings": []}
    assert run(flows=[FLOW], assume_prepared=prepared) == refused
    # nothing to translate, nothing to need
    assert not run(state="absent")["failed"]
    assert not run(flows=[])["failed"]


def test_n14_an_old_nft(nft: FakeNft, run: Any) -> None:
    nft.version = "0.9.8"
    assert run(flows=[FLOW])["msg"] == "nft 0.9.8 is too old: 1.0.0 or newer is needed"
    assert nft.writes == []


def test_n14_no_nft(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "conntrack").write_text("1\n")
    monkeypatch.setattr(_snat_task, "CONNTRACK", str(tmp_path / "conntrack"))
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.get_bin_path", lambda *dummy: None)
    assert run(flows=[FLOW])["msg"] == "the command nft is not installed on this host"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("Operation not permitted (you must be root)", "nftables needs CAP_NET_ADMIN; run the task with become"),
        ("JSON support not compiled-in", "this nft is built without JSON support"),
        ("Could not process rule: Protocol not supported", "nft could not list tables: Error: Could not process rule"),
    ],
)
def test_an_nft_that_does_not_answer(nft: FakeNft, run: Any, error: str, message: str) -> None:
    nft.fail["-j list tables"] = error
    assert run(flows=[FLOW])["msg"].startswith(message)


# bad input: nothing is written, and check mode says the same


def flow(**changes: Any) -> dict[str, Any]:
    return {"flows": [{**FLOW, **changes}]}


INJECTION = "filter; flush ruleset"
BAD = {
    "C01-in-the-service": (
        flow(service={**SERVICE, "prot": 1}),
        r"flows\[0\]\.service\.prot: unknown key; did you mean port\?",
    ),
    "C02-server": ({"flows": [{"service": SERVICE}]}, r"flows\[0\]\.server: is required"),
    "C02-address-of-the-server": (flow(server={"port": 80}), r"flows\[0\]\.server\.address: is required"),
    "C02-nothing": ({}, r"flows: is required with state present"),
    "C03-text-for-the-service": (flow(service="192.0.2.10:443"), r"flows\[0\]\.service: must be a dict"),
    "C04-null-server": (flow(server=None), r"flows\[0\]\.server: must not be empty"),
    "C04-empty-source": (flow(source=""), r"flows\[0\]\.source: must not be empty"),
    "C05-newline-in-the-source": (flow(source="198.51.100.1\n"), r"flows\[0\]\.source: invalid character at offset 12"),
    "C08-port-65536": (
        flow(server={**SERVER, "port": 65536}),
        r"flows\[0\]\.server\.port: must be an integer 0\.\.65535",
    ),
    "C15-default-stated": (
        {"flows": [FLOW, {**FLOW, "service": {**SERVICE, "protocol": "tcp"}}]},
        r"flows\[1\]: duplicate of flows\[0\]",
    ),
    # what they inject by has no option here, and every value ends as a number or an address
    "N01-table": ({"table": INJECTION, "flows": [FLOW]}, r"Unsupported parameters.*table"),
    "N01-in-the-source": (
        flow(source=INJECTION),
        r"flows\[0\]\.source: must be an IP address; host names are not resolved",
    ),
    "N01-in-the-address": (
        flow(service={**SERVICE, "address": INJECTION}),
        r"flows\[0\]\.service\.address: must be an IP address",
    ),
    "N01-in-the-protocol": (
        flow(service={**SERVICE, "protocol": INJECTION}),
        r"flows\[0\]\.service\.protocol: must be one of tcp, udp, sctp",
    ),
    "N02-option": ({"family": "arp", "flows": [FLOW]}, r"Unsupported parameters.*family"),
    "N02-family-arp": (
        flow(service={"fwmark": 7, "family": "arp"}),
        r"flows\[0\]\.service\.family: must be one of ipv4, ipv6",
    ),
    "N04-priority": ({"priority": "srcnat; drop", "flows": [FLOW]}, r"Unsupported parameters.*priority"),
    "N05-not-an-address-of-this-host": (
        flow(source="198.51.100.77"),
        r"flows\[0\]\.source: is not an address of this host \(got '198\.51\.100\.77'\)",
    ),
    "N06-server": (
        flow(server={"address": "2001:db8::1"}),
        r"flows\[0\]\.server\.address: must be of the service's family",
    ),
    "N06-source": (flow(source="2001:db8::1"), r"flows\[0\]\.source: must be of the server's family"),
    "N08-unspecified": (flow(source="0.0.0.0"), r"flows\[0\]\.source: must not be the unspecified address"),
    "N08-everything": (flow(source="0.0.0.0/0"), r"flows\[0\]\.source: must be an IP address without a prefix length"),
    "N09-range": (flow(server={**SERVER, "port": "90-80"}), r"flows\[0\]\.server\.port: must be a decimal integer"),
    "weight-of-a-server": (flow(server={**SERVER, "weight": 5}), r"flows\[0\]\.server\.weight: unknown key"),
    "link-local-server": (
        flow(service={"address": "2001:db8::10", "port": 80}, server={"address": "fe80::11"}),
        r"^flows\[0\]\.server\.address: must not be a link-local address",
    ),
    "N10-counter": ({"counter": "x", "flows": [FLOW]}, r"Unsupported parameters.*counter"),
    "N12-snippet": ({"snippet": "x" * 2**20, "flows": [FLOW]}, r"Unsupported parameters.*snippet"),
    "N13-include": ({"include": "/etc/shadow", "flows": [FLOW]}, r"Unsupported parameters.*include"),
    "N16-comment": ({"comment": "x" * 129, "flows": [FLOW]}, r"Unsupported parameters.*comment"),
    "mark-0": (
        flow(service={"fwmark": 0, "family": "ipv4"}),
        r"flows\[0\]\.service\.fwmark: must be an integer 1\.\.4294967295",
    ),
    "mark-without-family": (flow(service={"fwmark": 7}), r"flows\[0\]\.service\.family: is required with fwmark"),
    "C11-mark-and-address": (
        flow(service={**SERVICE, "fwmark": 7}),
        r"flows\[0\]\.service\.fwmark: excludes address, port",
    ),
    "two-sources-for-one-packet": (
        {
            "flows": [
                {"service": {"fwmark": 7, "family": "ipv4"}, "server": {"address": "198.51.100.11", "port": 80}},
                {
                    "service": {"fwmark": 7, "family": "ipv4"},
                    "server": {"address": "198.51.100.11", "port": 81},
                    "source": "198.51.100.1",
                },
            ]
        },
        r"flows\[1\]\.source: cannot be told from flows\[0\] in a packet, so must have the same source",
    ),
    "all-at-once": (
        {"flows": [{"service": {"port": "x"}, "server": {"weight": 1}}]},
        r"service\.port: .*service\.address: .*server\.",
    ),
}


@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(nft: FakeNft, run: Any, params: Any, message: str) -> None:
    refused = run(**params)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert nft.writes == []
    assert run(check=True, **params)["msg"] == refused["msg"]


UNTRANSLATED = [
    Connection("tcp 192.0.2.10 443", "192.0.2.10"),
    Connection("udp 192.0.2.10 9999", "192.0.2.10"),  # there is a service for every port of udp
    Connection("udp 2001:db8::10 53", "2001:db8::10", family="ipv6"),
]
OTHERS = [
    Connection("tcp 192.0.2.10 443", "198.51.100.11"),  # IPVS has sent it on by NAT
    Connection("tcp 192.0.2.10 22", "192.0.2.10"),
    Connection("tcp 2001:db8::10 53", "2001:db8::10", family="ipv6"),
]


def test_connections_from_before_the_translation_are_forgotten(
    nft: FakeNft, run: Any, conntrack: FakeConntrack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: True)
    conntrack.connections = [*UNTRANSLATED, *OTHERS]
    flows = [flow for flow in EVERY_KIND if flow["service"] != {**SERVICE, "port": 0}]
    kept = run(flows=flows)
    assert (kept["forgotten"], conntrack.calls) == (0, 0)
    counted = run(check=True, flows=flows, forget_untranslated=True)
    assert (counted["changed"], counted["forgotten"]) == (True, 3)
    assert len(conntrack.connections) == 6
    done = run(flows=flows, forget_untranslated=True)
    assert (done["changed"], done["forgotten"], done["replaced"]) == (True, 3, [])
    assert conntrack.connections == OTHERS
    again = run(flows=flows, forget_untranslated=True)
    assert (again["changed"], again["forgotten"]) == (False, 0)


@pytest.mark.parametrize(
    ("loaded", "warnings"),
    [
        (set(), []),
        (
            {"nf_conntrack"},
            ["check mode does not load nf_conntrack_netlink, so the connections to forget are not counted"],
        ),
    ],
)
def test_check_mode_loads_nothing_to_count_connections(
    nft: FakeNft,
    run: Any,
    conntrack: FakeConntrack,
    monkeypatch: pytest.MonkeyPatch,
    loaded: set[str],
    warnings: list[str],
) -> None:
    conntrack.connections = list(UNTRANSLATED)
    run(flows=[FLOW])
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name in loaded)
    conntrack.calls = 0
    checked = run(check=True, flows=[FLOW], forget_untranslated=True)
    assert (checked["forgotten"], checked["warnings"]) == (0, warnings)
    assert conntrack.calls == 1  # for its version, which loads nothing


def test_check_mode_says_nothing_of_marks_whose_connections_are_never_forgotten(
    nft: FakeNft, run: Any, conntrack: FakeConntrack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name != "nf_conntrack_netlink")
    flows = [{"service": {"fwmark": 7, "family": "ipv4"}, "server": {"address": "198.51.100.11"}}]
    assert run(check=True, flows=flows, forget_untranslated=True)["warnings"] == []


def test_connections_that_end_meanwhile_hold_nobody_up(nft: FakeNft, run: Any, conntrack: FakeConntrack) -> None:
    conntrack.connections = [Connection("tcp 192.0.2.10 443", "192.0.2.10") for dummy in range(5)]
    conntrack.ending = 2
    done = run(flows=[FLOW], forget_untranslated=True)
    assert (done["changed"], done["forgotten"]) == (True, 3)
    assert conntrack.connections == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Operation failed: Operation not permitted", "needs CAP_NET_ADMIN; run the task with become"),
        ("Operation failed: Device or resource busy", "could not tell its connections: .*busy"),
        (ENDED, "could not tell its connections: .*doesn't exist"),
    ],
)
def test_what_conntrack_says_is_told(nft: FakeNft, run: Any, conntrack: FakeConntrack, error: str, told: str) -> None:
    conntrack.error = error
    for changed in (True, False):
        refused = run(flows=[FLOW], forget_untranslated=True)
        assert re.search(told, refused["msg"])
        assert refused["changed"] == changed


def test_without_conntrack_nothing_is_written(nft: FakeNft, run: Any, conntrack: FakeConntrack) -> None:
    conntrack.installed = False
    assert "conntrack is not installed" in run(flows=[FLOW], forget_untranslated=True)["msg"]
    assert nft.writes == []


def test_the_number_of_flows_is_limited(nft: FakeNft, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_snat, "MAX_FLOWS", 2)
    assert run(flows=[FLOW] * 3)["msg"] == "flows: must have at most 2 items (has 3)"
    assert nft.writes == []
