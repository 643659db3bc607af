# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_server on a fake kernel."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from plugins.modules.ipvs_server import main
from tests.unit.fake_kernel import Kernel

WEB = {"address": "192.0.2.10", "port": 443}
RIP = {"service": WEB, "address": "198.51.100.11"}
NAT = {**RIP, "port": 8443, "forward": "nat"}
SERVICE = "-A -t 192.0.2.10:443 -s mh -p 60 -b mh-port\n"
OTHERS = """
    -a -t 192.0.2.10:443 -r 198.51.100.12:443 -g -w 7
    -a -t 192.0.2.10:443 -r 198.51.100.11:9443 -m -w 7
    -A -t [2001:db8::10]:443 -s rr
    -A -f 7 -s sh -b sh-port
    -a -f 7 -r 198.51.100.11:443 -g -w 1
"""
HEAD = "-a -t 192.0.2.10:443 -r 198.51.100.11:443"
GUE = f"{HEAD} -i -w 5 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 3"


@pytest.mark.parametrize(
    ("params", "line"),
    [
        (RIP, f"{HEAD} -g -w 1"),
        ({**RIP, "port": "443", "forward": "dr", "weight": "1"}, f"{HEAD} -g -w 1"),
        (NAT, "-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"),
        ({**NAT, "service": {**WEB, "protocol": "tcp"}}, "-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"),
        ({**RIP, "weight": 0}, f"{HEAD} -g -w 0"),
        ({**RIP, "upper_threshold": 9, "lower_threshold": 3}, f"{HEAD} -g -w 1 -x 9 -y 3"),
        ({**RIP, "forward": "tun"}, f"{HEAD} -i -w 1 --tun-type ipip"),
        (
            {**RIP, "forward": "tun", "tunnel_type": "gre", "tunnel_checksum": "csum"},
            f"{HEAD} -i -w 1 --tun-type gre --tun-csum",
        ),
        (
            {
                **RIP,
                "forward": "tun",
                "weight": 5,
                "upper_threshold": 9,
                "lower_threshold": 3,
                "tunnel_type": "gue",
                "tunnel_port": 6080,
                "tunnel_checksum": "csum",
            },
            GUE,
        ),
        (
            {**RIP, "address": "2001:DB8::0011", "forward": "tun"},
            "-a -t 192.0.2.10:443 -r [2001:db8::11]:443 -i -w 1 --tun-type ipip",
        ),
        (
            {"service": {"address": "2001:db8::10", "port": 443}, "address": "2001:db8::11"},
            "-a -t [2001:db8::10]:443 -r [2001:db8::11]:443 -g -w 1",
        ),
        ({**RIP, "service": {"fwmark": 7, "family": "ipv4"}}, "-a -f 7 -r 198.51.100.11:0 -g -w 1"),
        (
            {**RIP, "service": {"fwmark": 7, "family": "ipv4"}, "port": 80},
            "-a -f 7 -r 198.51.100.11:80 -g -w 1",
        ),
    ],
)
def test_a_server_is_added(every_way: Any, params: dict[str, Any], line: str) -> None:
    result = every_way(main, params, SERVICE + OTHERS, SERVICE + OTHERS + line)
    assert result["operations"] == [line]


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (GUE, {}, GUE),
        (GUE, {"weight": 0}, f"{HEAD} -i -w 0 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 3"),
        (GUE, {"weight": 2147483647}, f"{HEAD} -i -w 2147483647 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 3"),
        (GUE, {"upper_threshold": 10}, f"{HEAD} -i -w 5 --tun-type gue --tun-port 6080 --tun-csum -x 10 -y 3"),
        (GUE, {"lower_threshold": 0}, f"{HEAD} -i -w 5 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 0"),
        (GUE, {"tunnel_port": 6081}, f"{HEAD} -i -w 5 --tun-type gue --tun-port 6081 --tun-csum -x 9 -y 3"),
        (GUE, {"tunnel_checksum": "remcsum"}, f"{HEAD} -i -w 5 --tun-type gue --tun-port 6080 --tun-remcsum -x 9 -y 3"),
        (GUE, {"tunnel_type": "gre"}, f"{HEAD} -i -w 5 --tun-type gre --tun-nocsum -x 9 -y 3"),
        (GUE, {"tunnel_type": "ipip"}, f"{HEAD} -i -w 5 --tun-type ipip -x 9 -y 3"),
        (GUE, {"forward": "dr"}, f"{HEAD} -g -w 5 -x 9 -y 3"),
        (GUE, {"forward": "nat"}, f"{HEAD} -m -w 5 -x 9 -y 3"),
        (f"{HEAD} -m -w 2", {"forward": "tun"}, f"{HEAD} -i -w 2 --tun-type ipip"),
        (f"{HEAD} -m -w 2", {"weight": 3}, f"{HEAD} -m -w 3"),
    ],
)
def test_an_option_not_given_leaves_the_live_value(
    every_way: Any, before: str, changes: dict[str, Any], after: str
) -> None:
    start = SERVICE + OTHERS
    result = every_way(main, {**RIP, **changes}, start + before, start + after)
    assert result["operations"] == ([after.replace("-a", "-e", 1)] if before != after else [])


def test_a_server_is_removed_and_nothing_else(every_way: Any) -> None:
    result = every_way(main, {**RIP, "state": "absent"}, SERVICE + OTHERS + GUE, SERVICE + OTHERS)
    assert result["operations"] == ["-d -t 192.0.2.10:443 -r 198.51.100.11:443"]
    assert result["service"] == {**WEB, "protocol": "tcp"}
    assert "server" not in result


@pytest.mark.parametrize(("before", "service"), [(SERVICE + OTHERS, WEB), ("", WEB), (SERVICE, {**WEB, "port": 80})])
def test_what_is_absent_stays_absent(every_way: Any, before: str, service: dict[str, Any]) -> None:
    every_way(main, {**RIP, "service": service, "state": "absent"}, before, before)


@pytest.mark.parametrize(
    "line",
    [
        GUE,
        f"{HEAD} -g -w 0",
        f"{HEAD} -m -w 65536 -x 9 -y 0",
        f"{HEAD} -i -w 1 --tun-type ipip",
        f"{HEAD} -i -w 1 --tun-type gre --tun-nocsum",
    ],
)
def test_the_result_feeds_straight_back(run_main: Any, kernel: Kernel, line: str) -> None:
    kernel.restore(SERVICE + line)
    result = run_main(main, RIP)
    assert not result["changed"]
    kernel.services.clear()
    kernel.restore(SERVICE)
    back = {"service": result["service"], **result["server"]}
    again = run_main(main, back)
    assert kernel.save() == [SERVICE.strip(), line]
    assert again["server"] == result["server"]
    assert not run_main(main, back)["changed"]


def test_the_result_states_the_server(run_main: Any, kernel: Kernel) -> None:
    kernel.restore(SERVICE)
    result = run_main(main, NAT, check=True)
    assert result["service"] == {**WEB, "protocol": "tcp"}
    assert result["server"] == {
        "address": "198.51.100.11",
        "port": 8443,
        "forward": "nat",
        "weight": 1,
        "upper_threshold": 0,
        "lower_threshold": 0,
    }


def test_a_service_that_is_not_there_is_an_error(run_main: Any, kernel: Kernel) -> None:
    kernel.restore("-A -t 192.0.2.10:80 -s rr")
    result = run_main(main, RIP)
    assert (result["failed"], result["msg"]) == (
        True,
        "the service -t 192.0.2.10:443 does not exist: make it first, with l4lb.ipvs.ipvs_service",
    )
    assert kernel.writes == []


def test_in_check_mode_an_earlier_task_may_have_made_the_service(run_main: Any, kernel: Kernel) -> None:
    result = run_main(main, RIP, check=True)
    assert result["changed"]
    assert result["operations"] == [f"{HEAD} -g -w 1"]
    assert result["warnings"] == [
        "the service -t 192.0.2.10:443 does not exist: planned as if an earlier task had made it"
    ]
    assert kernel.writes == []


BAD: list[tuple[dict[str, Any], list[str]]] = [
    (
        {**RIP, "service": {}},
        ["service.address: is required (or fwmark with family)", "service.port: is required (or fwmark with family)"],
    ),
    (
        {**RIP, "service": {**WEB, "scheduler": "rr"}},
        ["service.scheduler: unknown key; known: address, port, protocol, fwmark, family"],
    ),
    ({**RIP, "service": {**WEB, "protocl": "udp"}}, ["service.protocl: unknown key; did you mean protocol?"]),
    ({**RIP, "service": {**WEB, "port": "x"}}, ["service.port: must be a decimal integer 0..65535 (got 'x')"]),
    ({**RIP, "service": {"fwmark": 7}}, ["service.family: is required with fwmark (ipv4 or ipv6)"]),
    ({**RIP, "address": ""}, ["address: must not be empty"]),
    (
        {**RIP, "address": "198.51.100.011"},
        ["address: must be an IPv4 address without leading zeros, which are ambiguous (got '198.51.100.011')"],
    ),
    ({**RIP, "address": "255.255.255.255"}, ["address: must be a unicast address (got '255.255.255.255')"]),
    ({**RIP, "port": 65536}, ["port: must be an integer 0..65535 (got 65536)"]),
    ({**RIP, "forward": "masq"}, ["forward: must be one of nat, tun, dr (got 'masq')"]),
    ({**RIP, "weight": -1}, ["weight: must be an integer 0..2147483647 (got -1)"]),
    ({**RIP, "upper_threshold": "many"}, ["upper_threshold: must be a decimal integer 0..2147483647 (got 'many')"]),
    ({**RIP, "lower_threshold": True}, ["lower_threshold: must be a decimal integer 0..2147483647 (got True)"]),
    ({**RIP, "tunnel_type": "vxlan"}, ["tunnel_type: must be one of ipip, gue, gre (got 'vxlan')"]),
    ({**RIP, "tunnel_port": 0}, ["tunnel_port: must be an integer 1..65535 (got 0)"]),
    ({**RIP, "tunnel_checksum": "crc"}, ["tunnel_checksum: must be one of none, csum, remcsum (got 'crc')"]),
    (
        {"service": {"address": "x", "port": -1}, "address": "web1", "weight": 1.5},
        [
            "service.address: must be an IP address; host names are not resolved (got 'x')",
            "service.port: must be an integer 0..65535 (got -1)",
            "address: must be an IP address; host names are not resolved (got 'web1')",
            "weight: must be a decimal integer 0..2147483647 (got 1.5)",
        ],
    ),
    (
        {**RIP, "weight": 0, "forward": "nat", "state": "absent"},
        ["forward: means nothing with state absent (got 'nat')", "weight: means nothing with state absent (got 0)"],
    ),
]

#: Rules that need the live server, and so are found after reading and before writing.
BAD_TOGETHER: list[tuple[dict[str, Any], list[str]]] = [
    (
        {**RIP, "port": 8443},
        ["port: must be the service's port 443 with forward dr, which does not rewrite it (got 8443)"],
    ),
    (
        {**RIP, "address": "2001:db8::11"},
        ["address: must be of its service's family; only forward tun mixes (got '[2001:db8::11]:443')"],
    ),
    ({**RIP, "address": "192.0.2.10"}, ["address: is the service itself (got '192.0.2.10:443')"]),
    (
        {**RIP, "lower_threshold": 5, "tunnel_type": "gue", "tunnel_port": 6080},
        [
            "lower_threshold: must not be above upper_threshold (0) (got 5)",
            "tunnel_type: is only for forward tun (got 'gue')",
            "tunnel_port: is only for forward tun (got 6080)",
        ],
    ),
    ({**RIP, "forward": "tun", "tunnel_type": "gue"}, ["tunnel_port: is required with tunnel_type gue"]),
]


@pytest.mark.parametrize(("params", "problems"), BAD)
def test_bad_input_is_refused_before_the_kernel_is_asked(
    refused: Any, params: dict[str, Any], problems: list[str]
) -> None:
    assert refused(main, params) == "; ".join(problems)


@pytest.mark.parametrize(("params", "problems"), BAD_TOGETHER)
@pytest.mark.parametrize("check", [False, True])
def test_bad_combinations_are_refused_before_anything_is_written(
    run_main: Any, kernel: Kernel, params: dict[str, Any], problems: list[str], check: bool
) -> None:
    kernel.restore(SERVICE)
    result = run_main(main, params, check=check)
    assert (result["failed"], result["msg"]) == (True, "; ".join(problems))
    assert kernel.writes == []


def test_missing_and_unknown_options_are_refused(refused: Any) -> None:
    assert refused(main, {}) == "missing required arguments: address, service"
    assert "Unsupported parameters" in refused(main, {**RIP, "wieght": 1})


def test_what_is_unwise_warns(run_main: Any, kernel: Kernel) -> None:
    kernel.restore(SERVICE)
    result = run_main(main, {**RIP, "weight": 65536})
    assert result["warnings"] == ["weight: is above 65535, the most that ipvsadm restores except Debian's (got 65536)"]


def test_a_refusal_of_the_kernel_is_explained(run_main: Any, kernel: Kernel) -> None:
    kernel.restore(SERVICE)
    kernel.refuse = {0: errno.EINVAL}
    result = run_main(main, RIP)
    assert result["failed"]
    assert not result["changed"]
    assert result["msg"].startswith(f"the kernel refused {HEAD} -g -w 1: the kernel takes this address")
    assert [one["operation"] for one in result["outcome"]["failed"]] == [f"{HEAD} -g -w 1"]


@pytest.mark.parametrize(("flags", "warned"), [([], True), (["mh-fallback"], False)])
def test_a_weight_of_0_that_refuses_clients_is_warned_of(
    kernel: Kernel, run_main: Any, flags: list[str], warned: bool
) -> None:
    kernel.restore("-A -t 192.0.2.10:443 -s mh" + "".join(f" -b {flag}" for flag in flags))
    done = run_main(main, {"service": {"address": "192.0.2.10", "port": 443}, "address": "198.51.100.11", "weight": 0})
    assert done["changed"]
    assert ("weight: a hash scheduler" in "".join(done["warnings"])) is warned
