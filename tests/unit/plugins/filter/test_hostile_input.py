# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in an inventory, a filter answers or raises its own error, in bounded time and memory."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.filter.backend_plan import backend_plan
from plugins.filter.director_plan import director_plan
from plugins.filter.lint import lint
from plugins.filter.resolve_services import resolve_services
from plugins.filter.service_marks import service_marks
from plugins.filter.snat_flows import snat_flows
from plugins.filter.untracked_traffic import untracked_traffic
from plugins.filter.verify_targets import verify_targets
from plugins.module_utils import _model
from plugins.module_utils._errors import MAX_VALUE, Findings, show
from plugins.module_utils._model import ENTRY_FIELDS, INVENTORY_KEYS, SERVER_FIELDS, parse_services
from plugins.plugin_utils import _hostvars
from tests.unit.plugins.filter import test_backend_plan, test_director_plan

SERVER = {"address": "198.51.100.11"}
WEB: dict[str, Any] = {"name": "web", "address": "192.0.2.10", "port": 80, "forward": "nat", "servers": [SERVER]}
HUGE = 16**5000
LAUGHS = yaml.safe_load(
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))
)["i"]
DEEP: list[Any] = []
for __ in range(100_000):
    DEEP = [DEEP]


def call(name: str, services: Any, variables: Any = None, pools: Any = None, more: Any = None) -> Any:
    """One of the filters, with these services, variables of a host, pools, and one option that the user sets."""
    hosts = {"web1": {"rip": "198.51.100.12", **(variables or {})}, "director1": {}}
    groups = {"web": ["web1"], "ipvs_backends": ["web1"], "ipvs_directors": ["director1"]}
    inventory: dict[str, Any] = {"hostvars": hosts, "groups": groups, "pools": pools}
    options: dict[str, Callable[[], Any]] = {
        "resolve_services": lambda: resolve_services(services, vip=more or "hold", **inventory),
        "service_marks": lambda: service_marks(services, **inventory),
        "snat_flows": lambda: snat_flows(services, source=more or [], **inventory),
        "untracked_traffic": lambda: untracked_traffic(services, **inventory),
        "lint": lambda: lint(services, batch=["web1"], allow=more or [], **inventory),
        "backend_plan": lambda: backend_plan(services, host=test_backend_plan.HOST, sysctls=more, **inventory),
        "director_plan": lambda: director_plan(services, flows=[], host=test_director_plan.HOST, sysctls=more),
        "verify_targets": lambda: verify_targets(services, verify=more or {}),
    }
    return options[name]()


FILTERS = (
    *("resolve_services", "service_marks", "snat_flows", "untracked_traffic", "lint", "backend_plan"),
    *("director_plan", "verify_targets"),
)
READING = FILTERS[:6]


@contextlib.contextmanager
def bounded(seconds: float = 10, megabytes: int = 1000) -> Iterator[None]:
    """No more processor time and memory than this."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - started < seconds
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < megabytes


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are reached soon."""
    monkeypatch.setattr(_hostvars, "MAX_VALUES", 20_000)
    monkeypatch.setattr(_model, "MAX_ALL_SERVERS", 20_000)


def refusal(name: str, *args: Any, **more: Any) -> str:
    with bounded(), pytest.raises(AnsibleFilterError) as caught:
        call(name, *args, **more)
    assert len(str(caught.value)) < 20_000
    return str(caught.value)


@pytest.mark.parametrize("name", READING)
def test_a_key_that_looks_like_a_path_is_an_unknown_key(name: str) -> None:
    assert refusal(name, [{**WEB, "services[5]": 1}]).startswith("services[0].services[5]: unknown key")
    servers = [{**SERVER, "services[3].servers[7]": 1}]
    assert "services[0].servers[0].services[3].servers[7]: unknown key" in refusal(name, [{**WEB, "servers": servers}])


#: By what they are: a service, its refusal, and that of the lint, which reads all of it first.
BAD: dict[str, tuple[dict[Any, Any], str, str]] = {
    "pool": ({"pool": ["web"]}, "services[0].pool: no such pool", ""),
    "port": ({"port": HUGE}, "must be an integer 0..65535 (got an integer of 20001 bits)", "services[0].port: must be"),
    "boolean": ({"one_packet": HUGE}, "services[0].one_packet: must be true or false", ""),
    "key": ({HUGE: 1}, "an integer of 20001 bits: unknown key", ""),
    "weight": ({"servers": [{**SERVER, "weight": LAUGHS}]}, "servers[0].weight: must be a decimal", "holds more than"),
    "name": ({"name": LAUGHS}, "services[0].name: must be a string", "holds more than"),
    "scheduler": ({"scheduler": LAUGHS}, "services[0].scheduler: unknown scheduler", "holds more than"),
    "servers": ({"servers": LAUGHS}, "services[0].servers[0]: must be a dict", "holds more than"),
    "deep": ({"servers": DEEP}, "services[0].servers[0]: must be a dict", "nested too deeply"),
}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("kind", BAD)
def test_bad_values_are_named_and_not_looked_through(name: str, kind: str, few: None) -> None:
    service, told, of_lint = BAD[kind]
    assert (of_lint if of_lint and name == "lint" else told) in refusal(name, [{**WEB, **service}])


@pytest.mark.parametrize("name", ["resolve_services", "lint"])
def test_limits_are_on_the_total(name: str, few: None) -> None:
    servers = [{"address": f"198.51.{i // 250}.{i % 250 + 1}"} for i in range(1000)]
    many = [{**WEB, "port": port, "servers": servers} for port in range(1, 20_001)]
    told = "holds more than 20000 values" if name == "lint" else "services: must have at most 20000 servers in all"
    assert told in refusal(name, many)
    if name != "lint":
        pool = [{**WEB, "port": port, "pool": "web", "servers": []} for port in range(1, 20_001)]
        assert told in refusal(name, pool, pools={"web": {"servers": servers}})
    wide = {"addresses": [f"192.0.2.{i}" for i in range(1, 255)], "ports": list(range(1, 1000)), "servers": []}
    assert "services[0]: must expand to at most 100000 services" in refusal(name, [wide])


def test_a_word_that_is_no_list_of_words_is_named() -> None:
    assert refusal("lint", [WEB], more=HUGE).startswith("ipvs_lint_allow: must be a list")
    assert refusal("lint", [WEB], more=[HUGE]).startswith("ipvs_lint_allow[0]: must be one of")


def test_a_module_has_the_same_limit(few: None) -> None:
    servers = [{"address": f"198.51.{i // 250}.{i % 250 + 1}"} for i in range(1000)]
    findings = Findings()
    parse_services([{**WEB, "port": port, "servers": servers} for port in range(1, 20_001)], "services", findings)
    assert list(map(str, findings.problems)) == ["services: must have at most 20000 servers in all"]


@pytest.mark.parametrize("name", ["resolve_services", "director_plan"])
def test_fifty_thousand_misspelt_keys_take_no_time(name: str) -> None:
    misspelt = {f"schedular{i}": 1 for i in range(50_000)}
    assert "services[0]: must have at most 100 keys" in refusal(name, [{**WEB, **misspelt}])
    assert "must have at most 100 keys" in refusal(name, [{**WEB, "servers": [misspelt]}])
    each = [{**WEB, "port": port, f"schedular{port}": 1} for port in range(1, 50_001)]
    assert "and 9981 more" in refusal(name, each)


@pytest.mark.parametrize(
    ("value", "rule"), [("one", "must be one of 0, 1, 2, 3, 8"), (True, "must be one of 0, 1, 2, 3, 8")]
)
def test_sysctls_of_a_role_are_what_the_module_takes(value: object, rule: str) -> None:
    sysctls = {"net.ipv4.conf.all.arp_ignore": value}
    told = refusal("backend_plan", [WEB], more=sysctls)
    assert told.startswith("ipvs_backend_sysctls[net.ipv4.conf.all.arp_ignore]: ")
    assert rule in told or "must be a decimal integer" in told
    told = refusal("director_plan", [WEB], more=sysctls)
    assert told.startswith("ipvs_director_sysctls[net.ipv4.conf.all.arp_ignore]: ")


@pytest.mark.parametrize(
    "facts",
    [
        "junk",
        {"interfaces": 5},
        {"interfaces": ["eth0"], "eth0": "junk"},
        {"interfaces": ["eth0"], "eth0": {"ipv4": 5, "ipv4_secondaries": {"address": 1}, "ipv6": [5, None, []]}},
        {"interfaces": ["eth0"], "eth0": {"ipv4": {"address": HUGE, "prefix": HUGE}}},
        {"interfaces": ["eth0"], "eth0": {"ipv4": {"address": "198.51.100.12", "prefix": HUGE}}},
        {"default_ipv4": ["junk"]},
        {"default_ipv4": {"gateway": {}}},
    ],
)
def test_malformed_facts_of_one_host_do_not_stop_the_lint_of_the_fleet(facts: object) -> None:
    bad = call("lint", [WEB], {"ansible_facts": facts})
    assert bad["problems"] == call("lint", [WEB], {})["problems"]


def test_a_long_value_is_shown_as_far_as_it_is_told() -> None:
    for value in (LAUGHS, HUGE, [HUGE], "x" * 10**7, {"a": LAUGHS}, DEEP, b"x" * 10**6, "'\x1b[31m"):
        assert len(show(value)) <= MAX_VALUE
    for small in ([1, "a"], {"a": (1,), "b": None}, (), [], {}, "'", 'a"', True, 1.5, (1, 2), b"x"):
        assert show(small) == repr(small)


KEYS = st.sampled_from(
    [
        *(field.name for field in (*ENTRY_FIELDS, *SERVER_FIELDS)),
        *INVENTORY_KEYS,
        *("services[0]", "services[9].servers[9]", "lb_algo", "{{ x }}", "", "group", "default", "a.b"),
    ]
)
WORDS = st.sampled_from(
    [*("192.0.2.10", "2001:db8::1", "198.51.100.11", "80", "8000-8010", "web", "nat", "dr", "tun", "rr", "sip", "rip")]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70_000),
    st.none().map(lambda dummy: HUGE),
    st.floats(),
    WORDS,
    st.text(max_size=8),
    st.binary(max_size=3),
)
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, LEAVES), inner, max_size=5), st.tuples(inner)
    ),
    max_leaves=12,
)
SERVICES = st.one_of(
    JUNK,
    st.lists(
        st.one_of(
            JUNK,
            st.builds(lambda extra: {**WEB, **extra}, st.dictionaries(KEYS, JUNK, max_size=3)),
            st.builds(lambda extra: {**WEB, "servers": [{**SERVER, **extra}]}, st.dictionaries(KEYS, JUNK, max_size=3)),
        ),
        max_size=3,
    ),
)
VARIABLES = st.dictionaries(
    st.sampled_from(
        [
            *("rip", "ansible_facts", "ipvs_networks", "ipvs_address", "ipvs_backend_addresses", "__ipvs_lint"),
            *("ipvs_backend_return_via", "ipvs_backend_state", "ipvs_director_vip", "ipvs_director_lint_allow"),
        ]
    ),
    JUNK,
    max_size=3,
)


@pytest.mark.parametrize("name", FILTERS)
@given(services=SERVICES, variables=VARIABLES, pools=st.one_of(st.none(), JUNK), more=st.one_of(st.none(), JUNK))
@settings(max_examples=40)
def test_junk_gives_the_filters_own_error_or_none(
    name: str, services: Any, variables: Any, pools: Any, more: Any
) -> None:
    with contextlib.suppress(AnsibleFilterError):
        call(name, services, variables, pools, more)
