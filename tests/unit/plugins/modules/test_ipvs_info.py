# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_info on a fake kernel."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.modules import ipvs_table
from plugins.modules.ipvs_info import main
from tests.unit.conftest import Machine
from tests.unit.fake_kernel import Dest, Kernel, VirtualService

TABLE = """
    -A -t 192.0.2.10:443 -s mh -b mh-fallback,mh-port
    -a -t 192.0.2.10:443 -r 198.51.100.12:443 -g -w 0
    -a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 65536 -x 100 -y 50
    -a -t 192.0.2.10:443 -r [2001:db8::14]:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
    -A -u 192.0.2.10:5060 -s rr -p 300 -M 255.255.255.0 --pe sip -o
    -A --sctp-service 192.0.2.10:0 -s wlc -p 60
    -A -t [2001:db8::10]:443 -s wlc -p 300 -M 64
    -a -t [2001:db8::10]:443 -r [2001:db8::11]:443 -i -w 1 --tun-type gre --tun-csum
    -A -f 7 -s sh -b sh-port
    -a -f 7 -r 198.51.100.11:0 -i -w 1 --tun-type ipip
    -A -f 7 -6 -s wrr -b flag-3
"""
KEYS = [
    {"address": "192.0.2.10", "port": 443, "protocol": "tcp"},
    {"address": "192.0.2.10", "port": 5060, "protocol": "udp"},
    {"address": "192.0.2.10", "port": 0, "protocol": "sctp"},
    {"address": "2001:db8::10", "port": 443, "protocol": "tcp"},
    {"fwmark": 7, "family": "ipv4"},
    {"fwmark": 7, "family": "ipv6"},
]


@pytest.mark.parametrize("check", [False, True])
def test_the_table_is_told_in_order(run_main: Any, kernel: Kernel, check: bool) -> None:
    kernel.restore(TABLE)
    result = run_main(main, {}, check=check)
    assert not result["changed"]
    assert (result["loaded"], result["version"], result["connection_table_size"]) == (True, "1.2.1", 4096)
    assert [{name: service[name] for name in key} for key, service in zip(KEYS, result["services"])] == KEYS
    assert [one["service"] for one in result["statistics"]] == KEYS
    assert kernel.writes == []
    assert result["services"][0] == {
        **KEYS[0],
        "scheduler": "mh",
        "scheduler_flags": ["mh-fallback", "mh-port"],
        "persistence_timeout": 0,
        "persistence_engine": "none",
        "one_packet": False,
        "servers": [
            {
                "address": "198.51.100.11",
                "port": 8443,
                "forward": "nat",
                "weight": 65536,
                "upper_threshold": 100,
                "lower_threshold": 50,
            },
            {
                "address": "198.51.100.12",
                "port": 443,
                "forward": "dr",
                "weight": 0,
                "upper_threshold": 0,
                "lower_threshold": 0,
            },
            {
                "address": "2001:db8::14",
                "port": 443,
                "forward": "tun",
                "weight": 1,
                "upper_threshold": 0,
                "lower_threshold": 0,
                "tunnel_type": "gue",
                "tunnel_port": 6080,
                "tunnel_checksum": "remcsum",
            },
        ],
    }


def test_what_it_tells_feeds_straight_back(run_main: Any, kernel: Kernel) -> None:
    kernel.restore(TABLE)
    told = run_main(main, {})["services"]
    saved = kernel.save()
    assert not run_main(ipvs_table.main, {"services": told})["changed"]
    kernel.services.clear()
    assert run_main(ipvs_table.main, {"services": told})["changed"]
    assert kernel.save() == saved
    assert run_main(main, {})["services"] == told


def test_counters_are_told_beside_the_services(run_main: Any, kernel: Kernel) -> None:
    kernel.restore(TABLE)
    service = next(iter(kernel.services.values()))
    service.statistics = tuple(2**40 + number for number in range(10))
    server = service.dests[2, bytes((198, 51, 100, 11)), 8443]
    server.statistics, server.connections = tuple(range(10)), (1, 2, 3)
    told = run_main(main, {})["statistics"]
    assert told[0]["counters"] == {
        "connections": 2**40,
        "packets_in": 2**40 + 1,
        "packets_out": 2**40 + 2,
        "bytes_in": 2**40 + 3,
        "bytes_out": 2**40 + 4,
    }
    assert told[0]["rates"]["bytes_out_per_second"] == 2**40 + 9
    assert told[0]["servers"][0] == {
        "address": "198.51.100.11",
        "port": 8443,
        "counters": {"connections": 0, "packets_in": 1, "packets_out": 2, "bytes_in": 3, "bytes_out": 4},
        "rates": {
            "connections_per_second": 5,
            "packets_in_per_second": 6,
            "packets_out_per_second": 7,
            "bytes_in_per_second": 8,
            "bytes_out_per_second": 9,
        },
        "connections": {"active": 1, "inactive": 2, "persistent": 3},
    }
    assert [server["address"] for server in told[0]["servers"]] == ["198.51.100.11", "198.51.100.12", "2001:db8::14"]


def test_what_has_no_word_is_told_as_a_number(run_main: Any, kernel: Kernel) -> None:
    foreign = VirtualService(scheduler="none")
    foreign.dests[2, bytes((198, 51, 100, 11)), 80] = Dest(forward=4, weight=1)
    kernel.services[2, 0, 50, bytes((192, 0, 2, 10)), 80] = foreign
    [service] = run_main(main, {})["services"]
    assert service["protocol"] == "50"
    assert service["scheduler"] == "none"
    assert service["servers"][0]["forward"] == "4"


def test_an_empty_table_is_told(run_main: Any, kernel: Kernel) -> None:
    result = run_main(main, {})
    assert (result["loaded"], result["services"], result["statistics"]) == (True, [], [])


def test_a_host_without_ipvs_is_told_and_nothing_is_loaded(run_main: Any, machine: Machine) -> None:
    machine.unload()
    assert run_main(main, {}) == {
        "failed": False,
        "warnings": [],
        "changed": False,
        "loaded": False,
        "services": [],
        "statistics": [],
    }
    assert machine.kernel.ran == []
    assert machine.kernel.sockets == []


def test_reading_takes_no_lock(run_main: Any, kernel: Kernel, tmp_path: Any) -> None:
    run_main(main, {})
    assert not (tmp_path / "lock").exists()


def test_a_missing_capability_is_told(run_main: Any, kernel: Kernel) -> None:
    kernel.capable = False
    assert run_main(main, {})["msg"] == (
        "IPVS needs CAP_NET_ADMIN in the initial user namespace: run the task as root (become: true)"
    )


def test_bad_options_are_refused(refused: Any) -> None:
    assert "Unsupported parameters" in refused(main, {"services": []})
    assert refused(main, {"netns": "no-such-namespace"}).startswith("netns: no such network namespace; known: ")
