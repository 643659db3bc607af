# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel can hold goes through ipvs_info back into the other modules, whoever made it; new input does not.

Budget: 40 examples of the property, each a dozen runs of a module, some five seconds.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from plugins.module_utils import _model
from plugins.module_utils._model import Table
from plugins.module_utils._text import entry_params, key_params, server_key_params, server_params
from plugins.modules.ipvs_info import main as info
from plugins.modules.ipvs_server import main as server
from plugins.modules.ipvs_service import main as service
from plugins.modules.ipvs_table import main as table
from tests.unit import strategies
from tests.unit.conftest import hold
from tests.unit.fake_kernel import Dest, Kernel

VIP, RIP = bytes((192, 0, 2, 10)), bytes((198, 51, 100, 11))
WEB = (2, 0, 6, VIP, 80)
KEY = {"address": "192.0.2.10", "port": 80}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(strategies.held_tables())
def test_everything_a_kernel_can_hold_round_trips(run_main: Any, kernel: Kernel, held: Table) -> None:
    hold(kernel, held)
    written = len(kernel.writes)
    listed = run_main(info, {})["services"]
    assert listed == [entry_params(held[key]) for key in sorted(held)]

    for check in (True, False):
        again = run_main(table, {"services": listed}, check=check)
        assert (again["failed"], again.get("operations")) == (False, []), again
    for key, entry in held.items():
        options = {name: value for name, value in entry_params(entry).items() if name != "servers"}
        for params in (key_params(key), options):
            assert run_main(service, params) | {"warnings": []} == {
                "failed": False, "changed": False, "operations": [], "warnings": [],
                "diff": {"before": "", "after": ""}, "service": options,
            }  # fmt: skip
        for one in entry.servers.values():
            same = run_main(server, {"service": key_params(key), **server_params(one)})
            assert (same["failed"], same.get("operations")) == (False, []), same
    assert len(kernel.writes) == written

    for key, entry in held.items():
        identity = (key.family, key.fwmark, key.protocol, key.address, key.port)
        for one in entry.servers.values():
            params = {"service": key_params(key), **server_key_params(one.key)}
            before = dict(kernel.services[identity].dests[tuple(one.key)].__dict__)
            drained = run_main(server, {**params, "weight": 0})
            assert not drained["failed"], drained
            assert kernel.services[identity].dests[tuple(one.key)].__dict__ == {**before, "weight": 0}
            assert not run_main(server, {**params, "state": "absent"})["failed"]
            assert tuple(one.key) not in kernel.services[identity].dests
        gone = run_main(service, {**key_params(key), "state": "absent"})
        assert (gone["failed"], gone["changed"]) == (False, True), gone
    assert kernel.services == {}

    hold(kernel, held)
    assert not run_main(table, {"services": listed, "state": "absent"})["failed"]
    assert kernel.services == {}


@pytest.mark.parametrize(
    ("address", "number", "fields", "listed", "warning"),
    [
        (VIP, 80, {"forward": 0}, {"address": "192.0.2.10", "forward": "nat"}, "address: is the service itself"),
        (RIP, 8080, {"forward": 3}, {"port": 8080}, "port: must be the service's port 80 with forward dr"),
        (RIP, 80, {"forward": 1}, {"forward": "1"}, "forward: must be one of nat, tun, dr"),
        (RIP, 80, {"forward": 4}, {"forward": "4"}, "forward: must be one of nat, tun, dr"),
        (RIP, 80, {"forward": 2, "tunnel_type": 0, "tunnel_port": 99},
         {"forward": "tun", "tunnel_port": 99}, "tunnel_port: is only for tunnel_type gue"),
        (RIP, 80, {"forward": 2, "tunnel_type": 9},
         {"forward": "tun", "tunnel_type": "9"}, "tunnel_type: must be one of ipip, gue, gre"),
    ],
)  # fmt: skip
def test_a_live_value_is_kept_and_the_same_as_new_input_refused(
    run_main: Any,
    kernel: Kernel,
    address: bytes,
    number: int,
    fields: dict[str, int],
    listed: dict[str, Any],
    warning: str,
) -> None:
    params = {"address": "198.51.100.11", **listed, "weight": 2}
    kernel.restore("-A -t 192.0.2.10:80 -s rr")
    for check in (True, False):
        alone = run_main(server, {"service": KEY, **params}, check=check)
        whole = run_main(table, {"services": [{**KEY, "scheduler": "rr", "servers": [params]}]}, check=check)
        assert (alone["failed"], whole["failed"]) == (True, True)
        assert warning in alone["msg"]
        assert f"services[0].servers[0].{warning}" in whole["msg"]
    assert kernel.writes == []

    kernel.services[WEB].dests[2, address, number] = Dest(weight=1, **fields)
    alone = run_main(server, {"service": KEY, **params}, check=True)
    assert (alone["failed"], len(alone["operations"])) == (False, 1), alone
    assert [one for one in alone["warnings"] if warning in one and "kept, because it is live" in one]
    whole = run_main(table, {"services": [{**KEY, "scheduler": "rr", "servers": [params]}]})
    assert (whole["failed"], whole["operations"]) == (False, alone["operations"]), whole
    assert len(whole["warnings"]) == len(set(whole["warnings"])) == 1
    assert kernel.services[WEB].dests[2, address, number].__dict__.items() >= {**fields, "weight": 2}.items()


def test_one_broken_rule_of_a_live_server_does_not_excuse_another(run_main: Any, kernel: Kernel) -> None:
    kernel.restore("-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 198.51.100.11:8080 -g -w 1")
    params = {"service": KEY, "address": "198.51.100.11", "port": 8080}
    result = run_main(server, {**params, "lower_threshold": 5})
    assert result["msg"] == "lower_threshold: must not be above upper_threshold (0) (got 5)"
    assert run_main(server, {**params, "forward": "tun"})["failed"]  # the same mistake, in another way
    assert kernel.writes == []


def test_one_option_that_is_live_does_not_excuse_another(run_main: Any, kernel: Kernel) -> None:
    kernel.restore("-A -t 192.0.2.10:80 -s rr")
    kernel.services[WEB].dests[2, RIP, 80] = Dest(weight=1, forward=3, upper=3_000_000_000)
    result = run_main(server, {"service": KEY, "address": "198.51.100.11", "lower_threshold": 3_000_000_000})
    assert result["msg"] == "lower_threshold: must be an integer 0..2147483647 (got 3000000000)"


@pytest.mark.parametrize(("count", "failed"), [(2, False), (3, False), (4, False), (5, True)])
def test_a_live_crowd_may_shrink_and_not_grow(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, count: int, failed: bool
) -> None:
    monkeypatch.setattr(_model, "MH_SLOTS", 2)
    lines = [f"-a -t 192.0.2.10:80 -r 198.51.100.{last}:80 -g -w 1" for last in range(1, 5)]
    kernel.restore("\n".join(["-A -t 192.0.2.10:80 -s mh", *lines]))
    servers = [{"address": f"198.51.100.{last}"} for last in range(1, count + 1)]
    result = run_main(table, {"services": [{**KEY, "scheduler": "mh", "servers": servers}], "purge": "all"})
    assert result["failed"] == failed, result
    assert failed or [one for one in result["operations"] if one.startswith("-d")] == [
        f"-d -t 192.0.2.10:80 -r 198.51.100.{last}:80" for last in range(count + 1, 5)
    ]


def test_one_live_entry_does_not_excuse_another(run_main: Any, kernel: Kernel) -> None:
    """What is new beside it is refused, and named alone."""
    kernel.restore("-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 198.51.100.11:8080 -g -w 1")
    servers = [{"address": f"198.51.100.{last}", "port": 8080} for last in (11, 12)]
    result = run_main(table, {"services": [{**KEY, "scheduler": "rr", "servers": servers}]})
    rule = "must be the service's port 80 with forward dr, which does not rewrite it"
    assert result["msg"] == f"services[0].servers[1].port: {rule} (got 8080)"
    assert kernel.writes == []


def test_an_edit_of_a_live_service_keeps_its_scheduler_without_its_module(run_main: Any, kernel: Kernel) -> None:
    kernel.restore("-A -t 192.0.2.10:80 -s none")
    result = run_main(service, {**KEY, "persistence_timeout": 60})
    assert (result["failed"], result["operations"]) == (False, ["-E -t 192.0.2.10:80 -s none -p 60"]), result
    assert kernel.services[WEB].scheduler == "none"


def test_live_entries_may_break_rules_in_any_number_of_places(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_model, "MAX_PROBLEMS", 2)
    servers = [f"-a -t 192.0.2.{last}:80 -r 198.51.100.11:8080 -g -w 1" for last in range(1, 5)]
    kernel.restore("\n".join(f"-A -t 192.0.2.{last}:80 -s rr\n{line}" for last, line in enumerate(servers, 1)))
    listed = run_main(info, {})["services"]
    result = run_main(table, {"services": listed, "purge": "all"})
    assert (result["failed"], result.get("operations")) == (False, []), result
    assert len(result["warnings"]) == 4


def test_a_list_is_not_read_on_where_too_much_in_it_is_no_entry(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_model, "MAX_PROBLEMS", 2)
    result = run_main(table, {"services": [{**KEY, "port": number, "prot": "tcp"} for number in range(1, 6)]})
    assert len(result["problems"]) == 3
    assert result["problems"][2] == "services: breaks rules in 2 places; the rest is not read"
    assert kernel.writes == []
