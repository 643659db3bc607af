# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input that every module with a list of dicts answers alike (rows C01 to C15), before it looks at the host."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple, Union

import pytest

from plugins.module_utils import _module, _route_task, _snat_task, _traffic_task, _tunnel_task, _vip_task
from plugins.modules import (
    ipvs_connmark,
    ipvs_mark,
    ipvs_mss,
    ipvs_notrack,
    ipvs_policy_route,
    ipvs_snat,
    ipvs_tunnel,
    ipvs_vip,
)

Place = tuple[Union[str, int], ...]


class Subject(NamedTuple):
    """A module, its list and a good item of it; where in the item there is a key that must be given, an address, an
    integer, one of some words, a list and the name of an interface (``()``: nowhere).
    """

    main: Callable[[], None]
    option: str
    item: dict[str, Any]
    required: str
    address: Place
    integer: Place
    word: Place = ()
    items: Place = ()
    interface: Place = ()


MARK = {"fwmark": 7, "family": "ipv4", "addresses": ["192.0.2.10"], "interfaces": ["eth0"], "protocols": ["tcp"]}
TRAFFIC = {"addresses": ["192.0.2.10"], "ports": [80], "interfaces": ["eth0"], "protocols": ["tcp"]}
TUNNEL = {"name": "ipvs-gue", "type": "gue", "local": "198.51.100.11", "ports": [6080]}
POLICY = {
    "from": "198.51.100.21",
    "iif": "eth0",
    "ip_protocol": "tcp",
    "priority": 5,
    "routes": [{"via": "198.51.100.1"}],
    "direct": ["203.0.113.0/24"],
}
FLOW = {
    "service": {"address": "192.0.2.10", "port": 443, "protocol": "tcp"},
    "server": {"address": "198.51.100.11", "port": 8443},
}
SUBJECTS = {
    "ipvs_connmark": Subject(
        ipvs_connmark.main,
        "connections",
        {**MARK, "macs": ["00:00:5e:00:53:01"]},
        required="family",
        address=("addresses", 0),
        integer=("fwmark",),
        word=("family",),
        items=("macs",),
        interface=("interfaces", 0),
    ),
    "ipvs_mark": Subject(
        ipvs_mark.main,
        "marks",
        MARK,
        required="fwmark",
        address=("addresses", 0),
        integer=("fwmark",),
        word=("protocols", 0),
        items=("addresses",),
        interface=("interfaces", 0),
    ),
    "ipvs_mss": Subject(
        ipvs_mss.main, "clamps", {"address": "192.0.2.10", "mss": 1440}, "mss", address=("address",), integer=("mss",)
    ),
    "ipvs_notrack": Subject(
        ipvs_notrack.main,
        "traffic",
        TRAFFIC,
        required="addresses",
        address=("addresses", 0),
        integer=("ports", 0),
        word=("protocols", 0),
        items=("ports",),
        interface=("interfaces", 0),
    ),
    "ipvs_policy_route": Subject(
        ipvs_policy_route.main,
        "policies",
        POLICY,
        required="routes",
        address=("from",),
        integer=("priority",),
        word=("ip_protocol",),
        items=("direct",),
        interface=("iif",),
    ),
    "ipvs_snat": Subject(
        ipvs_snat.main,
        "flows",
        FLOW,
        required="service",
        address=("server", "address"),
        integer=("server", "port"),
        word=("service", "protocol"),
    ),
    "ipvs_tunnel": Subject(
        ipvs_tunnel.main,
        "tunnels",
        TUNNEL,
        required="name",
        address=("local",),
        integer=("ports", 0),
        word=("type",),
        items=("ports",),
        interface=("name",),
    ),
    "ipvs_vip": Subject(
        ipvs_vip.main,
        "vips",
        {"address": "192.0.2.10", "interface": "eth0", "prefix": 24, "scope": "link"},
        required="address",
        address=("address",),
        integer=("prefix",),
        word=("scope",),
        interface=("interface",),
    ),
}

MEBIBYTE = "a" * 2**20
TOO_LONG = r"must have at most 4096 characters \(has 1048576\) \(got 'a{70,}\.\.\.\)"
BAD_NAME = "must be an interface name of 1"
#: What stands at a place of a kind, and the rule that it breaks.
VALUES = {
    "C03-dict-for-text": ("address", {"a": 1}, r"must be a string \(got \{'a': 1\}\)"),
    "C03-text-for-list": ("items", "x", r"must be a list \(got 'x'\)"),
    "C03-dict-for-list": ("items", {"x": 1}, r"must be a list \(got \{'x': 1\}\)"),
    "C05-newline": ("address", "192.0.2.10\n", r"invalid character at offset 10 \(got '192\.0\.2\.10\\n'\)"),
    "C05-nul": ("address", "192\0", "invalid character at offset 3"),
    "C05-line-separator": ("address", "192\u2028", "invalid character at offset 3"),
    "C05-right-to-left-mark": ("interface", "eth\u200f0", r"invalid character at offset 3 \(got 'eth\\u200f0'\)"),
    "C06-leading-blank": ("address", " 192.0.2.10", "must not begin or end with a blank"),
    "C06-trailing-blank": ("integer", "80 ", "must not begin or end with a blank"),
    "C06-wide-digits": ("integer", "\uff18\uff10", r"must be a decimal integer \d+\.\.\d+ \(got "),
    "C06-wide-digits-in-an-address": ("address", "192.0.2.\uff11\uff10", "must be an IP address; host names are not"),
    "C07-exponent": ("integer", "1e3", "must be a decimal integer"),
    "C07-float": ("integer", 1.0, "must be a decimal integer"),
    "C07-boolean": ("integer", True, r"must be a decimal integer .*\(got True\)"),
    "C07-hexadecimal": ("integer", "0x50", "must be a decimal integer"),
    "C07-octal": ("integer", "080", "must be a decimal integer"),
    "C08-too-large": ("integer", 10**20, r"must be an integer \d+\.\.\d+ \(got 1(0){20}\)"),
    "C08-negative": ("integer", -1, r"must be an integer \d+\.\.\d+ \(got -1\)"),
    "C09-long-address": ("address", MEBIBYTE, TOO_LONG),
    "C09-long-name": ("interface", MEBIBYTE, TOO_LONG),
    "C09-long-list": ("items", [1] * 200_000, r"must have at most 10000 items \(has 200000\)"),
    "C10-template-for-an-address": (
        "address",
        "{{ vip }}",
        r"looks like an unrendered template \(got '\{\{ vip \}\}'\)",
    ),
    "C10-template-for-an-integer": ("integer", "{{ port }}", "looks like an unrendered template"),
    "C10-template-for-a-word": ("word", "{% if x %}", "looks like an unrendered template"),
    "C10-template-for-a-name": ("interface", "{{ nic }}", "looks like an unrendered template"),
    "C14-sixteen-characters": ("interface", "sixteencharacter", BAD_NAME),
    "C14-slash": ("interface", "a/b", BAD_NAME),
    "C14-blank": ("interface", "a b", BAD_NAME),
    "C14-dash": ("interface", "-x", BAD_NAME),
}

#: What is wrong with the task as a whole: of which module, what is beside the list or in its place, and the answer.
TASKS = {
    "C11-one-and-many": ("ipvs_vip", {"address": "192.0.2.11"}, r"^vips: excludes address$"),
    "C11-two-identities": (
        "ipvs_snat",
        {"flows": [{**FLOW, "service": {"fwmark": 7, "family": "ipv4", "address": "192.0.2.10"}}]},
        r"flows\[0\]\.service.*address.*fwmark|flows\[0\]\.service.*fwmark.*address",
    ),
    "C11-ports-of-another-type": (
        "ipvs_tunnel",
        {"tunnels": [{**TUNNEL, "type": "ipip"}]},
        r"tunnels\[0\]\.ports: is for type gue",
    ),
    "C11-main-has-no-rule": (
        "ipvs_policy_route",
        {"policies": [{**POLICY, "table": "main"}]},
        r"policies\[0\]\.from: means nothing with table main",
    ),
    "C11-mask-without-mark": (
        "ipvs_policy_route",
        {"policies": [{**POLICY, "fwmask": 7}]},
        r"policies\[0\]\.fwmask: needs fwmark \(got 7\)",
    ),
    "C11-no-source": (
        "ipvs_connmark",
        {"connections": [{name: value for name, value in MARK.items() if name != "interfaces"}]},
        r"connections\[0\]: needs interfaces or macs",
    ),
    "C12-probe": ("ipvs_vip", {"state": "absent", "probe": False}, "^probe: means nothing with state absent"),
    "C12-announce": ("ipvs_vip", {"state": "absent", "announce": True}, "^announce: means nothing with state absent"),
    **{
        f"C12-force-{name}": (name, {"state": "absent", "force": True}, "force: means nothing with state absent")
        for name in ("ipvs_policy_route", "ipvs_mark", "ipvs_connmark", "ipvs_notrack")
    },
    **{
        f"C12-purge-{name}": (
            name,
            {"state": "absent", "purge": "owned"},
            r"purge: means nothing with state absent \(got 'owned'\)",
        )
        for name in ("ipvs_snat", "ipvs_mark", "ipvs_connmark", "ipvs_notrack", "ipvs_mss")
    },
    "C12-forget": (
        "ipvs_snat",
        {"state": "absent", "forget_untranslated": True},
        r"forget_untranslated: means nothing with state absent \(got True\)",
    ),
    **{
        f"C12-list-{name}": (name, {"state": "absent"}, f"^{SUBJECTS[name].option}: means nothing with state absent")
        for name in ("ipvs_snat", "ipvs_mark", "ipvs_connmark", "ipvs_notrack", "ipvs_mss")
    },
}


def put(item: Any, place: Place, value: object) -> Any:
    """A copy of the item with another value at a place."""
    changed = copy.deepcopy(item)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


def path(place: Place) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)


def bad_lists(one: Subject) -> Iterator[tuple[str, Any, str]]:
    """Row, list and the answer to it."""
    begin = rf"^{one.option}\[1\]"
    for row, (kind, value, rule) in VALUES.items():
        place = getattr(one, kind)
        if place:
            yield row, [one.item, put(one.item, place, value)], rf"^{one.option}\[1\]{re.escape(path(place))}: {rule}"
    for row, value in (("C04-null", None), ("C04-empty-string", "")):
        for place in dict.fromkeys((one.address, one.integer)):
            rule = "must not be empty|must be a string|must be a decimal integer"
            yield (
                f"{row}-{place[0]}",
                [one.item, put(one.item, place, value)],
                f"{begin}{re.escape(path(place))}: {rule}",
            )
    without = {name: value for name, value in one.item.items() if name != one.required}
    misspelt = {**without, one.required[:-1]: one.item[one.required]}
    yield "C01-unknown-key", [one.item, misspelt], rf"{begin}\.{one.required[:-1]}: unknown key; did you mean \w+\?"
    yield (
        "C01-unknown-key-with-a-newline",
        [one.item, {**one.item, "x\ny": 1}],
        rf"{begin}\.'x\\ny': unknown key; known",
    )
    yield "C01-endless-key", [one.item, {**one.item, MEBIBYTE: 1}], rf"{begin}\.'a{{70,}}\.\.\.: unknown key; known"
    yield "C02-missing-key", [one.item, without], rf"{begin}\.{one.required}: is required"
    yield "C03-text-for-the-list", "text", rf"'{one.option}' is of type .*dictionary requested|{one.option}.*unable to"
    yield "C03-dict-for-the-list", {"a": 1}, rf"'{one.option}'.* cannot be converted to a list|{one.option}.*unable to"
    yield "C03-nested-list", [[one.item]], rf"'{one.option}' is of type .*list.*"
    yield "C04-null-list", None, rf"^{one.option}: is required|^address: is required \(or vips\)"
    yield "C09-endless-list", [{}] * 200_000, rf"^{one.option}: must have at most \d+ items \(has 200000\)$"
    yield "C15-same-twice", [one.item, one.item], rf"{begin}(\.name)?: (duplicate of|overlaps) {one.option}\[0\]"


CASES = {
    **{
        f"{row}-{name}": (one.main, {one.option: listed}, answer)
        for name, one in SUBJECTS.items()
        for row, listed, answer in bad_lists(one)
    },
    **{
        f"{row}-{name}" if not row.endswith(name) else row: (
            SUBJECTS[name].main,
            {SUBJECTS[name].option: [SUBJECTS[name].item], **params},
            answer,
        )
        for row, (name, params, answer) in TASKS.items()
    },
    **{
        f"C01-unknown-option-{name}": (
            one.main,
            {one.option: [one.item], "wieght": 1},
            "Unsupported parameters.*wieght",
        )
        for name, one in SUBJECTS.items()
    },
    **{
        f"C13-{row}-{name}": (
            one.main,
            {one.option: [one.item], "netns": netns},
            r"^netns: no such network namespace; known: .* \(none is created\) \(got ",
        )
        for name, one in SUBJECTS.items()
        for row, netns in (("typo", "nosuch"), ("path", "../x"), ("endless", "x" * 256), ("empty", ""))
    },
}


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host that may not even be looked at; the directory of its network namespaces."""

    def touched(*dummy: object) -> None:
        raise AssertionError("the host was touched")

    for task in (_vip_task, _tunnel_task, _route_task):
        monkeypatch.setattr(task, "open_kernel", touched)
    monkeypatch.setattr(_module.Task, "run", touched)
    (tmp_path / "conntrack").write_text("1\n")
    monkeypatch.setattr(_snat_task, "CONNTRACK", str(tmp_path / "conntrack"))
    monkeypatch.setattr(_traffic_task, "interfaces", lambda: [(2, "eth0")])
    monkeypatch.setattr(_module, "NETNS_DIR", str(tmp_path / "netns"))
    return tmp_path / "netns"


@pytest.mark.parametrize(("main", "params", "answer"), CASES.values(), ids=CASES)
def test_is_refused_before_the_host_is_looked_at(
    untouched: Path, run_main: Callable[..., Any], main: Any, params: dict[str, Any], answer: str
) -> None:
    refused = run_main(main, params)
    assert refused["failed"]
    assert re.search(answer, refused["msg"]), refused["msg"][:2000]
    assert not refused.get("changed")
    assert len(refused["msg"]) < 5000
    assert not untouched.exists()
    assert run_main(main, params, check=True)["msg"] == refused["msg"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_good_item_is_good(untouched: Path, run_main: Callable[..., Any], name: str) -> None:
    """Otherwise the rows above would prove nothing."""
    one = SUBJECTS[name]
    with pytest.raises(AssertionError, match="the host was touched"):
        run_main(one.main, {one.option: [one.item]})
