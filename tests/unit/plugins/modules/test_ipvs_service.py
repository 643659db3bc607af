# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_service on a fake kernel."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from plugins.module_utils import _management, _module
from plugins.modules.ipvs_service import main
from tests.unit.conftest import Machine
from tests.unit.fake_kernel import Kernel

WEB = {"address": "192.0.2.10", "port": 443}
DNS = {"address": "192.0.2.10", "port": 53, "protocol": "udp"}
BARE = "-A -t 192.0.2.10:443 -s wlc"
SERVERS = """
    -a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 5
    -a -t 192.0.2.10:443 -r 198.51.100.12:443 -i -w 0 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 3
"""
OTHERS = """
    -A -t 192.0.2.10:444 -s rr
    -A -t [2001:db8::10]:443 -s rr
    -A -f 7 -s sh -b sh-port
    -a -f 7 -r 198.51.100.11:0 -g -w 1
"""
FULL = "-A -u 192.0.2.10:53 -s sh -p 60 -M 255.255.255.0 --pe sip -o -b sh-port,flag-3"


@pytest.mark.parametrize(
    ("params", "line"),
    [
        (WEB, BARE),
        ({**WEB, "port": "443", "protocol": "tcp"}, BARE),
        (DNS, "-A -u 192.0.2.10:53 -s wlc"),
        ({**WEB, "protocol": "sctp", "scheduler": "rr"}, "-A --sctp-service 192.0.2.10:443 -s rr"),
        ({**WEB, "address": "2001:DB8::0010"}, "-A -t [2001:db8::10]:443 -s wlc"),
        ({"fwmark": 7, "family": "ipv4"}, "-A -f 7 -s wlc"),
        ({"fwmark": "8", "family": "ipv6"}, "-A -f 8 -6 -s wlc"),
        ({**WEB, "scheduler": "mh", "scheduler_flags": ["mh-port"]}, "-A -t 192.0.2.10:443 -s mh -b mh-port"),
        ({**WEB, "port": 0, "persistence_timeout": 300}, "-A -t 192.0.2.10:0 -s wlc -p 300"),
        (
            {**WEB, "address": "2001:db8::10", "persistence_timeout": 300, "persistence_netmask": 64},
            "-A -t [2001:db8::10]:443 -s wlc -p 300 -M 64",
        ),
        (
            {
                **DNS,
                "scheduler": "sh",
                "scheduler_flags": ["flag-3", "sh-port"],
                "persistence_timeout": 60,
                "persistence_netmask": "255.255.255.0",
                "persistence_engine": "sip",
                "one_packet": True,
            },
            FULL,
        ),
    ],
)
def test_a_service_is_made(every_way: Any, params: dict[str, Any], line: str) -> None:
    result = every_way(main, params, "", line)
    assert result["operations"] == [line]
    assert result["diff"] == {"before": "", "after": f"{line}\n"}


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (BARE, {}, BARE),
        (BARE, {"scheduler": "rr"}, "-A -t 192.0.2.10:443 -s rr"),
        (BARE, {"scheduler_flags": ["flag-2"]}, "-A -t 192.0.2.10:443 -s wlc -b flag-2"),
        (BARE, {"persistence_timeout": 2678400}, "-A -t 192.0.2.10:443 -s wlc -p 2678400"),
        (
            "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0 -b mh-fallback,mh-port",
            {"scheduler": "rr"},
            "-A -t 192.0.2.10:443 -s rr -p 60 -M 255.255.255.0",
        ),
        (
            "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0 -b mh-fallback,mh-port",
            {"scheduler_flags": ["mh-port"]},
            "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0 -b mh-port",
        ),
        (
            "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0 -b mh-port",
            {"scheduler_flags": []},
            "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0",
        ),
        (
            "-A -t 192.0.2.10:443 -s mh -p 60 -M 255.255.255.0 -b mh-port",
            {"persistence_timeout": 0},
            "-A -t 192.0.2.10:443 -s mh -b mh-port",
        ),
        (
            "-A -t 192.0.2.10:443 -s wlc -p 60 -M 255.255.255.0",
            {"persistence_timeout": 61},
            "-A -t 192.0.2.10:443 -s wlc -p 61 -M 255.255.255.0",
        ),
        (
            "-A -t 192.0.2.10:443 -s wlc -p 60 -M 255.255.255.0",
            {"persistence_netmask": 32},
            "-A -t 192.0.2.10:443 -s wlc -p 60",
        ),
    ],
)
def test_an_option_not_given_leaves_the_live_value(
    every_way: Any, before: str, changes: dict[str, Any], after: str
) -> None:
    result = every_way(main, {**WEB, **changes}, before + SERVERS + OTHERS, after + SERVERS + OTHERS)
    assert result["operations"] == ([after.replace("-A", "-E", 1)] if before != after else [])


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, FULL),
        ({"one_packet": False}, FULL.replace(" -o", "")),
        ({"persistence_engine": "none"}, FULL.replace(" --pe sip", "")),
        ({"persistence_engine": "none", "persistence_timeout": 0}, "-A -u 192.0.2.10:53 -s sh -o -b sh-port,flag-3"),
        ({"persistence_timeout": 90}, FULL.replace("-p 60", "-p 90")),
    ],
)
def test_a_full_service_is_edited(every_way: Any, changes: dict[str, Any], after: str) -> None:
    every_way(main, {**DNS, **changes}, FULL, after)


def test_a_service_is_removed_with_its_servers_and_nothing_else(every_way: Any) -> None:
    result = every_way(main, {**WEB, "state": "absent"}, BARE + SERVERS + OTHERS, OTHERS)
    assert result["operations"] == ["-D -t 192.0.2.10:443"]
    assert "service" not in result


def test_what_is_absent_stays_absent(every_way: Any) -> None:
    every_way(main, {"fwmark": 7, "family": "ipv6", "state": "absent"}, OTHERS, OTHERS)


@pytest.mark.parametrize(
    "line", [BARE, FULL, "-A -t [2001:db8::10]:443 -s wlc -p 300 -M 64", "-A -f 7 -6 -s mh -b mh-port"]
)
def test_the_result_feeds_straight_back(run_main: Any, kernel: Kernel, line: str) -> None:
    kernel.restore(line)
    keys = {
        "-t": {"address": line.split()[2].rsplit(":", 1)[0].strip("[]"), "port": line.split()[2].rsplit(":", 1)[-1]},
        "-u": DNS,
        "-f": {"fwmark": 7, "family": "ipv6"},
    }
    result = run_main(main, keys[line.split()[1]])
    assert not result["changed"]
    kernel.services.clear()
    again = run_main(main, result["service"])
    assert kernel.save() == [line]
    assert again["service"] == result["service"]
    assert not run_main(main, again["service"])["changed"]


def test_the_result_states_the_service(run_main: Any, kernel: Kernel) -> None:
    assert run_main(main, WEB, check=True)["service"] == {
        **WEB,
        "protocol": "tcp",
        "scheduler": "wlc",
        "scheduler_flags": [],
        "persistence_timeout": 0,
        "persistence_engine": "none",
        "one_packet": False,
    }


IS_REQUIRED = "is required (or fwmark with family)"
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [f"address: {IS_REQUIRED}", f"port: {IS_REQUIRED}"]),
    ({"address": "192.0.2.10"}, [f"port: {IS_REQUIRED}"]),
    ({**WEB, "address": ""}, ["address: must not be empty"]),
    ({**WEB, "address": "web1"}, ["address: must be an IP address; host names are not resolved (got 'web1')"]),
    ({**WEB, "port": True}, ["port: must be a decimal integer 0..65535 (got True)"]),
    ({**WEB, "port": 0}, ["port: 0 (every port) needs persistence_timeout (got 0)"]),
    ({**WEB, "protocol": "icmp"}, ["protocol: must be one of tcp, udp, sctp (got 'icmp')"]),
    ({"fwmark": 0, "family": "ipv4"}, ["fwmark: must be an integer 1..4294967295 (got 0)"]),
    ({**WEB, "fwmark": 7, "family": "ipv4"}, ["fwmark: excludes address, port (got 7)"]),
    ({"fwmark": 7}, ["family: is required with fwmark (ipv4 or ipv6)"]),
    ({"fwmark": 7, "family": "inet"}, ["family: must be one of ipv4, ipv6 (got 'inet')"]),
    (
        {**WEB, "scheduler": "rr; reboot"},
        [
            "scheduler: unknown scheduler; known: rr, wrr, lc, wlc, fo, ovf, lblc, lblcr, sh, dh, sed, nq, mh, twos"
            " (got 'rr; reboot')"
        ],
    ),
    (
        {**WEB, "scheduler_flags": ["mh"]},
        [
            "scheduler_flags: must be one of sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3"
            " (got ['mh'])"
        ],
    ),
    ({**WEB, "persistence_timeout": "1e3"}, ["persistence_timeout: must be a decimal integer 0..2678400 (got '1e3')"]),
    ({**WEB, "persistence_netmask": 129}, ["persistence_netmask: must be an integer 0..128 (got 129)"]),
    ({**WEB, "persistence_engine": "http"}, ["persistence_engine: must be one of none, sip (got 'http')"]),
    ({**WEB, "one_packet": "maybe"}, ["one_packet: must be true or false (got 'maybe')"]),
    (
        {"address": "0.0.0.0", "port": "{{ port }}", "protocol": "TCP", "one_packet": 2},
        [
            "port: looks like an unrendered template (got '{{ port }}')",
            "protocol: must be one of tcp, udp, sctp (got 'TCP')",
            "one_packet: must be true or false (got 2)",
            "address: must not be the unspecified address (got '0.0.0.0')",
        ],
    ),
    (
        {**WEB, "state": "absent", "scheduler": "rr", "one_packet": False, "force": True},
        [
            "scheduler: means nothing with state absent (got 'rr')",
            "one_packet: means nothing with state absent (got False)",
            "force: means nothing with state absent (got True)",
        ],
    ),
]

#: Rules that need the live service, and so are found after reading and before writing.
BAD_TOGETHER: list[tuple[dict[str, Any], list[str]]] = [
    ({**WEB, "scheduler_flags": ["mh-port"]}, ["scheduler_flags: mh-port is only for scheduler mh, not wlc"]),
    ({**WEB, "persistence_netmask": 24}, ["persistence_netmask: needs persistence_timeout"]),
    (
        {**WEB, "one_packet": True, "persistence_engine": "sip"},
        ["one_packet: is only for udp (got True)", "persistence_engine: needs udp and persistence_timeout (got 'sip')"],
    ),
]


@pytest.mark.parametrize(("params", "problems"), [case for case in BAD if case[0].get("port") != 0])
def test_bad_input_is_refused_before_the_kernel_is_asked(
    refused: Any, params: dict[str, Any], problems: list[str]
) -> None:
    assert refused(main, params) == "; ".join(problems)


@pytest.mark.parametrize(("params", "problems"), [*BAD_TOGETHER, *(case for case in BAD if case[0].get("port") == 0)])
@pytest.mark.parametrize("check", [False, True])
def test_bad_combinations_are_refused_before_anything_is_written(
    run_main: Any, kernel: Kernel, params: dict[str, Any], problems: list[str], check: bool
) -> None:
    kernel.restore(BARE)
    result = run_main(main, params, check=check)
    assert (result["failed"], result["msg"]) == (True, "; ".join(problems))
    assert kernel.writes == []


def test_a_port_in_the_base_of_60_is_the_number_that_yaml_makes_of_it(run_main: Any, kernel: Kernel) -> None:
    """Nobody can tell it from one that was written so: the number is told, and taken where it is a port."""

    def run(written: str) -> dict[str, Any]:
        return run_main(main, yaml.safe_load(f"{{address: 192.0.2.10, port: {written}}}"))

    assert run("22:22")["operations"] == ["-A -t 192.0.2.10:1342 -s wlc"]
    assert run("22:22:22")["msg"] == "port: must be an integer 0..65535 (got 80542)"
    assert run("'22:22'")["msg"] == "port: must be a decimal integer 0..65535 (got '22:22')"


def test_an_unknown_option_is_refused(refused: Any) -> None:
    assert "Unsupported parameters" in refused(main, {**WEB, "shceduler": "rr"})
    assert "Unsupported parameters" in refused(main, {**WEB, "servers": []})


def test_what_is_unwise_warns(run_main: Any, kernel: Kernel) -> None:
    params = {"address": "127.0.0.1", "port": 80, "persistence_timeout": 60, "persistence_netmask": "255.0.255.0"}
    assert run_main(main, params)["warnings"] == [
        "address: a loopback address serves this host alone (got '127.0.0.1')",
        "persistence_netmask: is not a contiguous mask (got '255.0.255.0')",
    ]
    assert kernel.save() == ["-A -t 127.0.0.1:80 -s wlc -p 60 -M 255.0.255.0"]


CAPTURES = "has the address and port through which this task is connected; force accepts it"


@pytest.mark.parametrize(
    ("local", "params"),
    [
        ("192.0.2.22", {"address": "192.0.2.22", "port": 22}),
        ("192.0.2.22", {"address": "192.0.2.22", "port": 0, "persistence_timeout": 60}),
        ("2001:db8::22", {"address": "2001:db8:0::22", "port": 22}),
    ],
)
def test_the_way_in_is_not_taken_unless_it_is_meant(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, local: str, params: dict[str, Any]
) -> None:
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": local, "port": 22})
    for check in (True, False):
        refused = run_main(main, params, check=check)
        assert refused["failed"]
        assert re.fullmatch(rf"-t \S+: {CAPTURES} \(got '{local} port 22'\)", refused["msg"])
    assert kernel.writes == []
    assert not run_main(main, {**params, "force": True})["failed"]
    # it is there already
    assert run_main(main, {**params, "scheduler": "rr"})["changed"]


@pytest.mark.parametrize(
    ("local", "params"),
    [
        ("192.0.2.22", {"address": "192.0.2.22", "port": 443}),
        ("192.0.2.22", {"address": "192.0.2.10", "port": 22}),
        ("192.0.2.22", {"address": "192.0.2.22", "port": 22, "protocol": "udp"}),
        ("192.0.2.22", {"fwmark": 22, "family": "ipv4"}),
        ("192.0.2.22", {"address": "192.0.2.22", "port": 22, "netns": "blue"}),
        # a link-local address has its zone behind it
        ("fe80::1%eth0", {"address": "2001:db8::22", "port": 22}),
    ],
)
def test_what_is_not_the_way_in_is_added(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, local: str, params: dict[str, Any]
) -> None:
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": local, "port": 22})
    monkeypatch.setattr(_module, "enter_namespace", lambda dummy: None)
    assert run_main(main, params)["changed"]


def test_a_scheduler_this_kernel_lacks_is_refused(run_main: Any, machine: Machine) -> None:
    result = run_main(main, {**WEB, "scheduler": "twos"})
    assert result["msg"] == "-A -t 192.0.2.10:443 -s twos: the module ip_vs_twos is not available in this kernel"
    assert machine.kernel.writes == []


def test_an_unknown_namespace_is_refused(refused: Any) -> None:
    assert refused(main, {**WEB, "netns": "no-such-namespace"}).startswith("netns: no such network namespace; known: ")
