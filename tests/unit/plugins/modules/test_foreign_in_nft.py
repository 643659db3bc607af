# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that keep tables in nftables, where another program has put something into a table or has disarmed it:
the table is replaced, and nothing ends in a traceback. The shapes are as nft 1.0.6 lists them.
"""

from __future__ import annotations

import copy
import time
from typing import Any, Callable, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils import _draft, _management, _mss_task, _nft, _snat_task, _traffic, _traffic_task
from plugins.module_utils._draft import Element
from plugins.module_utils._model import AF_INET
from plugins.module_utils._nft import LiveTable
from plugins.modules import ipvs_connmark, ipvs_mark, ipvs_mss, ipvs_notrack, ipvs_snat
from tests.unit.fake_nft import FakeNft

Objects = list[dict[str, Any]]
FLOW = {
    "service": {"address": "192.0.2.10", "port": 80, "protocol": "tcp"},
    "server": {"address": "198.51.100.11", "port": 80},
}
TRAFFIC = {"addresses": ["192.0.2.10"], "ports": [80]}
MARKED = {**TRAFFIC, "fwmark": 7, "family": "ipv4"}


class Case(NamedTuple):
    """A module and what it is given: one thing, and another one that is already there."""

    module: Any
    table: str
    option: str
    one: dict[str, Any]
    other: dict[str, Any]


def also(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "addresses": ["192.0.2.11"]}


CASES = {
    "snat": Case(
        ipvs_snat,
        "l4lb_snat",
        "flows",
        FLOW,
        {**FLOW, "server": {"address": "198.51.100.12", "port": 80}},
    ),
    "mark": Case(ipvs_mark, "l4lb_mark", "marks", MARKED, also(MARKED)),
    "notrack": Case(ipvs_notrack, "l4lb_notrack", "traffic", TRAFFIC, also(TRAFFIC)),
    "connmark": Case(
        ipvs_connmark,
        "l4lb_connmark",
        "connections",
        {**MARKED, "interfaces": ["eth1"]},
        also({**MARKED, "interfaces": ["eth1"]}),
    ),
    "mss": Case(
        ipvs_mss,
        "l4lb_mss",
        "clamps",
        {"address": "192.0.2.10", "mss": 1440},
        {"address": "192.0.2.11", "mss": 1440},
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: Any) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def run(
    run_main: Callable[..., Any], fake_nft: FakeNft, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Callable[..., Any]:
    (tmp_path / "conntrack").write_text("1\n")
    monkeypatch.setattr(_snat_task, "CONNTRACK", str(tmp_path / "conntrack"))
    monkeypatch.setattr(_management, "management_connection", lambda: None)
    monkeypatch.setattr(_traffic_task, "interfaces", lambda: [(1, "eth1")])

    def call(case: Case, check: bool = False, **params: Any) -> Any:
        return run_main(case.module.main, params, check=check)

    return call


def the(kind: str, objects: Objects) -> dict[str, Any]:
    """The first object of this kind, the set or map for ``set``."""
    kinds = ("set", "map") if kind == "set" else (kind,)
    return next(entry[kind] for entry in objects for kind in kinds if kind in entry)


def key_of(entry: Any) -> Any:
    return entry[0] if isinstance(entry, list) else entry


def put(objects: Objects, change: Callable[[Any], Any]) -> None:
    """Have a copy of the first element, its key changed, in the set."""
    elements = the("set", objects)["elem"]
    new = copy.deepcopy(elements[0])
    elements.append([change(new[0]), new[1]] if isinstance(new, list) else change(new))


def in_place_of_the_address(value: Any) -> Callable[[Any], Any]:
    def change(key: Any) -> Any:
        return {"concat": [value, *key["concat"][1:]]} if isinstance(key, dict) else value

    return change


FOREIGN_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "comment": lambda key: {"elem": {"val": key, "comment": "by hand"}},
    "timeout": lambda key: {"elem": {"val": key, "timeout": 300, "expires": 299}},
    "counter": lambda key: {"elem": {"val": key, "counter": {"packets": 0, "bytes": 0}}},
    "prefix": in_place_of_the_address({"prefix": {"addr": "203.0.113.0", "len": 24}}),
    "range": in_place_of_the_address({"range": ["203.0.113.1", "203.0.113.9"]}),
    "unknown-expression": lambda dummy: {"numgen": {"mode": "inc", "mod": 2}},
    "no-address": in_place_of_the_address("any"),
    "other-family": in_place_of_the_address("2001:db8::1"),
    "number": lambda dummy: 7,
    "null": lambda dummy: None,
    "wider": lambda key: {"concat": [key, key, key, key, key]},
    "the-same-twice": lambda key: key,
}


@pytest.mark.parametrize("element", FOREIGN_ELEMENTS.values(), ids=FOREIGN_ELEMENTS)
def test_a_foreign_element_is_a_change_and_goes(case: Case, element: Any, fake_nft: FakeNft, run: Any) -> None:
    def foreign(objects: Objects) -> None:
        put(objects, element)

    assert_is_replaced(case, foreign, fake_nft, run)


def chain_with(**changes: Any) -> Callable[[Objects], None]:
    return lambda objects: the("chain", objects).update(changes)


def without_hook(objects: Objects) -> None:
    chain = the("chain", objects)
    for name in ("type", "hook", "prio", "policy"):
        del chain[name]


def added(kind: str, value: dict[str, Any]) -> Callable[[Objects], None]:
    """An object that another program has added last: the numbers have no gap."""
    return lambda objects: objects.append({kind: {"handle": len(objects) + 1, **value}})


DISARMED: dict[str, Callable[[Objects], None]] = {
    "dormant": lambda objects: objects.append({"table": {"flags": "dormant"}}),
    # as nft 1.0.6 lists the flag
    "dormant-misprinted": lambda objects: objects.append({"table": {"flags": "b"}}),
    "dormant-and-not-JSON": lambda objects: objects.append({"broken": {}}),
    "policy": chain_with(policy="drop"),
    "priority": chain_with(prio=-149),
    "hook": chain_with(hook="forward"),
    "type": chain_with(type="route"),
    "device": chain_with(dev="lo"),
    "no-hook": without_hook,
    "counter": added("counter", {"name": "c", "packets": 0, "bytes": 0}),
    "quota": added("quota", {"name": "q", "bytes": 5, "used": 0, "inv": True}),
    "unknown-object": added("something new", {"name": "x"}),
    "unknown-object-without-number": lambda objects: objects.append({"something new": {}}),
    "foreign-set": added("set", {"name": "x", "type": "ipv4_addr", "elem": ["192.0.2.1"]}),
    "foreign-verdict-map": added("map", {"name": "v", "map": "verdict", "elem": [["192.0.2.1", {"drop": None}]]}),
    "foreign-rule": added("rule", {"expr": []}),
    "foreign-chain": added("chain", {"name": "other"}),
    "elements-that-are-no-list": lambda objects: the("set", objects).update(elem={"x": 1}),
}


@pytest.mark.parametrize("disarm", DISARMED.values(), ids=DISARMED)
def test_a_disarmed_table_is_a_change_and_replaced(case: Case, disarm: Any, fake_nft: FakeNft, run: Any) -> None:
    assert_is_replaced(case, disarm, fake_nft, run)


def assert_is_replaced(case: Case, change: Callable[[Objects], None], fake_nft: FakeNft, run: Any) -> None:
    name = ("ip", case.table)
    listed = {case.option: [case.one, case.other], "purge": "owned"}
    run(case, **listed)
    good = copy.deepcopy(fake_nft.tables)
    changed = copy.deepcopy(fake_nft.tables)
    change(changed[name])

    for params, left in ((listed, good), ({case.option: [case.one, case.other]}, good), ({"state": "absent"}, {})):
        fake_nft.tables = copy.deepcopy(changed)
        checked = run(case, check=True, **params)
        assert not checked["failed"], checked
        assert checked["changed"]
        assert fake_nft.tables == changed
        done = run(case, **params)
        assert done == checked
        assert done["replaced"] == [f"ip {case.table}"]
        assert done["diff"]["before"] != done["diff"]["after"]
        assert fake_nft.tables == left
        assert not run(case, **params)["changed"]


def test_what_is_understood_beside_a_foreign_element_is_kept(case: Case, fake_nft: FakeNft, run: Any) -> None:
    run(case, **{case.option: [case.one, case.other], "purge": "owned"})
    good = copy.deepcopy(fake_nft.tables)
    put(fake_nft.tables[("ip", case.table)], FOREIGN_ELEMENTS["comment"])
    done = run(case, **{case.option: [case.one], "purge": "none"})
    assert done["unlisted"] == 1
    assert fake_nft.tables == good
    assert f"table ip {case.table}: changed by another hand" in done["diff"]["before"]


@pytest.mark.parametrize(
    ("purge", "left"),
    [("none", ["one", "other"]), ("only", ["other"]), ("owned", ["other"])],
)
@pytest.mark.parametrize("flag", ["dormant", "dormant-misprinted"])
def test_a_dormant_table_keeps_its_elements(
    case: Case, flag: str, purge: str, left: list[str], fake_nft: FakeNft, run: Any
) -> None:
    run(case, **{case.option: [getattr(case, name) for name in left], "purge": "owned"})
    good = copy.deepcopy(fake_nft.tables)
    run(case, **{case.option: [case.one, case.other], "purge": "owned"})
    DISARMED[flag](fake_nft.tables[("ip", case.table)])
    assert run(case, **{case.option: [case.other], "purge": purge})["changed"]
    assert fake_nft.tables == good


def test_the_same_packet_in_two_sets_is_foreign(fake_nft: FakeNft, run: Any) -> None:
    """The rule of the other set comes first and takes it, although the wanted element is there."""
    case, fixed = CASES["snat"], {**CASES["snat"].other, "source": "192.0.2.10"}
    run(case, flows=[case.one, fixed])
    objects = fake_nft.tables[("ip", case.table)]
    sets = {entry[kind]["name"]: entry[kind]["elem"] for entry in objects for kind in ("set", "map") if kind in entry}
    sets["tcp_source"].append([copy.deepcopy(sets["tcp_plain"][0]), "192.0.2.99"])
    assert run(case, flows=[case.one, fixed])["changed"]


# the reader on anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["192.0.2.1", "range", "concat"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["elem", "val", "concat", "range", "prefix", "set", "name"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["to_tcp", "to_icmp", "to_udp_from_on_eth1", "tcp_plain", "tcp_source", "mark_plain", "clamp_1440", "clamp_01", "x"]
)
NUMBERS = st.integers(1, 6) | JSON
READERS = [
    _snat_task.PURPOSE,
    _mss_task.PURPOSE,
    *(_traffic_task.purpose(use) for use in (_traffic.MARKS, _traffic.CONNECTIONS, _traffic.UNTRACKED)),
]
OBJECTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"set": st.fixed_dictionaries({"name": NAMES, "handle": NUMBERS, "elem": JSON})}),
        st.fixed_dictionaries({"map": st.fixed_dictionaries({"name": NAMES, "handle": NUMBERS, "elem": JSON})}),
        st.fixed_dictionaries({"rule": st.fixed_dictionaries({"comment": JSON, "handle": NUMBERS})}),
        st.dictionaries(
            st.sampled_from(["table", "chain", "set", "rule", "x"]),
            st.dictionaries(st.sampled_from(["name", "handle", "type", "flags", "comment", "prio"]), JSON, max_size=4),
            max_size=2,
        ),
    ),
    max_size=5,
)
#: Seconds that the fuzz test may take; it takes about two.
BUDGET = 20


def test_the_readers_take_anything() -> None:
    started = time.monotonic()
    wanted = _draft.draft(
        {Element("x", ("192.0.2.1",)): None}, [], [_draft.Chain("c", "filter hook input priority raw", ["x"])]
    )

    @settings(max_examples=300)
    @given(OBJECTS)
    def read(objects: Objects) -> None:
        table = LiveTable(objects)
        for purpose in READERS:
            reading = purpose.read(AF_INET, table)
            purpose.lines(reading.elements)
            purpose.live(AF_INET, table)
            # what is taken for ours can be written again
            assert purpose.draft(AF_INET, reading.elements).elements == reading.elements
            assert not _draft.has_form(table, wanted)

    read()
    assert time.monotonic() - started < BUDGET


@pytest.mark.parametrize(
    "output", ['{"nftables": 1}', '{"nftables": [1]}', '{"nftables": [{"set": 1}]}', "[]", "", "null"]
)
def test_nothing_is_known_of_a_table_whose_listing_is_none(output: str) -> None:
    class Runner:
        def run(self, dummy_argv: list[str], dummy_data: Any = None) -> tuple[int, str, str]:
            return 0, output, ""

    assert not _draft.is_own(_nft.read(Runner(), _nft.TableName("ip", "l4lb_mss")))
