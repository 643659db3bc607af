# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a task gives, a module answers: it does what check mode plans, or fails with a message, and never ends in an
error of Python. Each module meets the host that its own tests have.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils import _probe, _snat_task, _traffic_task
from plugins.module_utils._errors import Findings
from plugins.modules import (
    ipvs_connmark,
    ipvs_mark,
    ipvs_mss,
    ipvs_notrack,
    ipvs_policy_route,
    ipvs_server,
    ipvs_service,
    ipvs_snat,
    ipvs_sysctl,
    ipvs_table,
    ipvs_tunnel,
    ipvs_vip,
)
from tests.unit import hostile
from tests.unit.fake_kernel import Kernel
from tests.unit.plugins.modules import test_ipvs_policy_route, test_ipvs_sysctl, test_ipvs_tunnel, test_ipvs_vip
from tests.unit.plugins.modules.test_common_rows import SUBJECTS

vip_host = test_ipvs_vip.host
tunnel_host = test_ipvs_tunnel.host
route_kernel = test_ipvs_policy_route.kernel
sysctl_host = test_ipvs_sysctl.host
Run = Callable[..., dict[str, Any]]

SERVER = {
    "address": "198.51.100.11",
    "port": 80,
    "weight": 1,
    "forward": "tun",
    "upper_threshold": 5,
    "lower_threshold": 2,
    "tunnel_type": "gue",
    "tunnel_port": 6080,
    "tunnel_checksum": "csum",
}
OPTIONS = {
    "scheduler": "mh",
    "scheduler_flags": ["mh-port"],
    "persistence_timeout": 300,
    "persistence_netmask": "255.255.255.0",
    "persistence_engine": "sip",
    "one_packet": True,
}
WEB = {"address": "192.0.2.10", "port": 80, "protocol": "udp"}
MARK = {"fwmark": 7, "family": "ipv6"}
SERVICE = {**WEB, **OPTIONS, "name": "web", "servers": [SERVER]}


class Case(NamedTuple):
    """A module, good parameters of it, and the fixture that is its host."""

    main: Callable[[], None]
    params: dict[str, Any]
    host: str


TABLE = {
    "services": [SERVICE, {**MARK, "servers": []}],
    "purge": "all",
    "keep_weights": True,
    "max_removals": "50%",
    "not_ready": [{"service": WEB, "server": {"address": "198.51.100.11"}}],
    "scope": {"networks": ["192.0.2.0/24"], "protocols": ["udp"], "marks": ["1-10"]},
    "allow_actions": ["add", "edit", "remove"],
}
HOSTS = {"ipvs_vip": "vip_host", "ipvs_tunnel": "tunnel_host", "ipvs_policy_route": "route_kernel"}
CASES = {
    "ipvs_table": Case(ipvs_table.main, TABLE, "kernel"),
    "ipvs_service": Case(ipvs_service.main, {**WEB, **OPTIONS, "state": "present", "force": False}, "kernel"),
    "ipvs_server": Case(ipvs_server.main, {"service": WEB, **SERVER, "state": "present"}, "kernel"),
    "ipvs_sysctl": Case(
        ipvs_sysctl.main,
        {"values": {"net.ipv4.ip_forward": 1, "net.ipv4.vs.sync_threshold": "3 50"}, "name": "x", "state": "present"},
        "sysctl_host",
    ),
    **{
        name: Case(one.main, {one.option: [one.item], "state": "present"}, HOSTS.get(name, "fake_nft"))
        for name, one in SUBJECTS.items()
    },
    "ipvs_vip purge": Case(
        ipvs_vip.main,
        {"address": "192.0.2.10", "interface": "eth0", "purge": "owned", "purge_interfaces": ["eth0"], "probe": False},
        "vip_host",
    ),
}
MODULES = (
    *(ipvs_connmark, ipvs_mark, ipvs_mss, ipvs_notrack, ipvs_policy_route, ipvs_server, ipvs_service),
    *(ipvs_snat, ipvs_sysctl, ipvs_table, ipvs_tunnel, ipvs_vip),
)
BEFORE = "-A -u 192.0.2.10:80 -s wlc\n-a -u 192.0.2.10:80 -r 198.51.100.11:80 -i -w 1\n"


def test_every_module_with_options_is_tried() -> None:
    mains = {case.main for case in CASES.values()}
    assert mains == {module.main for module in MODULES}
    files = {path.stem for path in Path(ipvs_vip.__file__).parent.glob("ipvs_*.py")}
    tried = {module.__name__.rpartition(".")[2] for module in MODULES}
    assert files - tried == {"ipvs_probe", "ipvs_host_info", "ipvs_info"}


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "conntrack_sysctl").write_text("1\n")
    monkeypatch.setattr(_snat_task, "CONNTRACK", str(tmp_path / "conntrack_sysctl"))
    monkeypatch.setattr(_traffic_task, "interfaces", lambda: [(2, "eth0")])


def renewed(host: Any) -> Callable[[], None]:
    """What puts a host back as it is now."""
    if isinstance(host, Kernel):
        return lambda: (host.services.clear(), host.restore(BEFORE))[0]
    held = host.kernel if isinstance(host, test_ipvs_vip.Host) else host
    state = copy.deepcopy(held.__dict__)
    return lambda: held.__dict__.update(copy.deepcopy(state))


@pytest.fixture
def trial(request: pytest.FixtureRequest, around: None) -> tuple[Case, Callable[[], None]]:
    """A module, and what makes its host new."""
    case = CASES[request.param]
    return case, renewed(request.getfixturevalue(case.host))


@pytest.mark.fuzz
@pytest.mark.parametrize("trial", CASES, indirect=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_hostile_options_give_a_result_or_a_message(
    trial: tuple[Case, Callable[[], None]], data: st.DataObject, run_main: Run
) -> None:
    case, renew = trial
    params = data.draw(hostile.damaged(case.params))
    renew()
    checked = run_main(case.main, params, check=True)
    assert isinstance(checked.get("msg", ""), str)
    assert len(str(checked.get("msg", ""))) < 20_000
    if case.main is ipvs_sysctl.main:  # its host is made of files, which stay
        return
    renew()
    done = run_main(case.main, params)
    if done["failed"]:  # check mode may plan what only an earlier task of the play makes possible
        assert not done.get("changed")
    else:
        assert (checked["failed"], checked["changed"]) == (False, done["changed"])


@pytest.mark.fuzz
@given(
    hostile.damaged(
        [
            {
                "name": "web",
                "address": "192.0.2.10",
                "port": 80,
                "protocol": "udp",
                "count": 2,
                "source_address": "198.51.100.1",
                "source_port": 40_000,
                "repeat": 2,
                "together": True,
                "send": "x\n",
                "pattern": "^web[0-9]",
                "timeout": 3,
            }
        ]
    )
)
def test_hostile_targets_are_parsed_or_refused(targets: Any) -> None:
    findings = Findings()
    _probe.parse_targets(targets, findings)
    assert all(map(str, findings.problems))
