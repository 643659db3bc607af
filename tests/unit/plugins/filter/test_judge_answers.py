# SPDX-License-Identifier: GPL-3.0-or-later
"""How services are asked, and how their answers are judged."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.judge_answers import judge_answers
from plugins.filter.verify_targets import verify_targets

A, B, C = ("198.51.100.11", "198.51.100.12", "198.51.100.13")
VERIFY = {"default": {"send": "\n", "pattern": r"^\S+"}}


def service(scheduler: str, *weights: int, **more: Any) -> dict[str, Any]:
    servers = [{"address": address, "weight": weight} for address, weight in zip((A, B, C), weights)]
    return {"address": "192.0.2.10", "port": 80, "scheduler": scheduler, "forward": "nat", "servers": servers, **more}


def verdict(asked: dict[str, Any], answers: dict[str, int], **result: Any) -> tuple[bool, str]:
    (target,) = verify_targets([asked], verify=VERIFY)
    attempts = target["count"] * target.get("repeat", 1)
    got = {"name": target["name"], "attempts": attempts, "answers": answers, "failures": {}, "by_port": {}, **result}
    (judged,) = judge_answers([asked], [got], verify=VERIFY)
    assert judged["line"].startswith("PASS" if judged["passed"] else "FAIL")
    return judged["passed"], judged["line"]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (service("rr", 1, 1), 30),
        (service("rr", 5, 2, 1), 30),
        (service("wrr", 5, 2), 35),
        (service("wrr", 4, 2), 30),
        (service("wrr", 1, 0), 30),
        (service("wrr", 999, 998), 30),
        (service("wrr", 0, 0), 30),
        (service("wrr", 999, 1), 1000),
        (service("wrr", 999, 7), 1006),
        (service("wrr", 65535, 1), 10000),
        (service("wlc", 1, 1, 1), 30),
        (service("wlc", 100, 1), 1010),
        (service("wlc", 65535, 1), 10000),
        (service("sh", 1, 1), 10),
    ],
)
def test_a_service_is_asked_in_whole_rounds_or_as_often_as_its_rule_needs(asked: dict[str, Any], count: int) -> None:
    (target,) = verify_targets([asked], verify=VERIFY)
    assert target == {
        "name": "-t 192.0.2.10:80",
        "address": "192.0.2.10",
        "port": 80,
        "protocol": "tcp",
        "count": count,
        **VERIFY["default"],
    }


@pytest.mark.parametrize("scheduler", ["sed", "nq"])
@pytest.mark.parametrize(("weights", "count"), [((1, 1), 30), ((0, 0), 30), ((20, 1), 63), ((1000, 1), 500)])
def test_what_looks_at_open_connections_is_asked_while_they_are_open(
    scheduler: str, weights: tuple[int, int], count: int
) -> None:
    (target,) = verify_targets([service(scheduler, *weights)], verify={})
    assert (target["count"], target["together"]) == (count, True)


@pytest.mark.parametrize("flag", ["sh-port", "mh-port"])
@pytest.mark.parametrize(("weights", "count"), [((1, 1), 60), ((9, 1), 200), ((5000, 1), 10000)])
def test_a_service_by_source_port_is_asked_from_many_ports_twice(
    flag: str, weights: tuple[int, int], count: int
) -> None:
    (target,) = verify_targets([service(flag[:2], *weights, scheduler_flags=[flag])], verify={})
    assert (target["count"], target["repeat"]) == (count, 2)
    assert target["source_port"] >= 1024


def test_no_two_services_are_asked_from_the_same_source_port() -> None:
    """Within the ports there are: IPVS mixes up connections of one source port to two services with a common server."""
    by_port = [service("mh", 1, 1, scheduler_flags=["mh-port"], port=port) for port in range(1, 1001)]
    targets = verify_targets(by_port, verify={})
    ranges = [range(target["source_port"], target["source_port"] + target["count"]) for target in targets]
    assert max(ports.stop for ports in ranges) <= 65536
    at_once = 16
    for first in range(len(ranges) - at_once):
        together = [port for ports in ranges[first : first + at_once] for port in ports]
        assert len(together) == len(set(together))


def test_the_first_source_port_can_be_chosen() -> None:
    asked = [
        service("mh", 1, 1, scheduler_flags=["mh-port"]),
        service("sh", 1, 1, scheduler_flags=["sh-port"], port=81),
    ]
    targets = verify_targets(asked, verify={}, first_source_port=30000)
    assert [target["source_port"] for target in targets] == [30000, 30060]


def test_settings_are_found_by_name() -> None:
    verify = {"dns": {"send": "a"}, "default": {"send": "b"}}
    targets = verify_targets([service("rr", 1, name="dns"), service("rr", 1, port=81)], verify=verify)
    assert [target["send"] for target in targets] == ["a", "b"]


def test_a_mark_is_asked_where_the_settings_say() -> None:
    marked = {"name": "m", "fwmark": 7, "family": "ipv4", "servers": [{"address": A}]}
    assert verify_targets([marked], verify={}) == []
    (judged,) = judge_answers([marked], [], verify={})
    assert not judged["passed"]
    assert "not checked" in judged["line"]
    (target,) = verify_targets([marked], verify={"m": {"address": "192.0.2.9", "port": 80, "protocol": "udp"}})
    assert (target["address"], target["port"], target["protocol"]) == ("192.0.2.9", 80, "udp")


def test_bad_settings_are_told() -> None:
    with pytest.raises(AnsibleFilterError, match=r"ipvs_verify\.default\.patern: unknown key; did you mean pattern"):
        verify_targets([], verify={"default": {"patern": "x"}})
    with pytest.raises(AnsibleFilterError, match="ipvs_verify: must be a dict"):
        verify_targets([], verify=["x"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "answers", "passed"),
    [
        (service("rr", 1, 1), {A: 15, B: 15}, True),
        (service("rr", 1, 1), {A: 16, B: 14}, True),
        (service("rr", 1, 1), {A: 17, B: 13}, False),
        (service("rr", 1, 1), {A: 30}, False),
        (service("rr", 9, 1), {A: 15, B: 15}, True),
        (service("wrr", 2, 1), {A: 20, B: 10}, True),
        (service("wrr", 2, 1), {A: 15, B: 15}, False),
        (service("wrr", 30, 1), {A: 30, B: 1}, True),
        (service("wrr", 30, 1), {A: 31}, False),
        (service("wrr", 1, 0), {A: 30}, True),
        (service("wrr", 1, 0), {A: 29, B: 1}, False),
        (service("wrr", 999, 998), {A: 15, B: 15}, True),
        (service("wrr", 999, 998), {A: 30}, False),
        (service("wrr", 999, 1), {A: 999, B: 1}, True),
        (service("wrr", 999, 1), {A: 1000}, False),
        (service("wrr", 65535, 1), {A: 10000}, False),
        (service("lc", 9, 1), {A: 15, B: 15}, True),
        (service("wlc", 2, 1), {A: 20, B: 10}, True),
        (service("wlc", 2, 1), {A: 25, B: 5}, True),
        (service("wlc", 2, 1), {A: 5, B: 25}, False),
        (service("wlc", 4, 1), {A: 30}, False),
        (service("wlc", 100, 1), {A: 1000, B: 10}, True),
        (service("wlc", 100, 1), {A: 1010}, False),
        (service("lc", 9, 1), {A: 30}, False),
        (service("twos", 1, 1), {A: 20, B: 10}, True),
        (service("twos", 9, 1), {A: 100}, False),
        (service("sh", 1, 1), {A: 10}, True),
        (service("sh", 1, 1), {A: 9, B: 1}, False),
        (service("dh", 1, 1), {B: 10}, True),
        (service("mh", 1, 1), {A: 5, B: 5}, False),
        (service("lblc", 1, 1), {B: 10}, True),
        (service("rr", 1, 1, persistence_timeout=60), {A: 10}, True),
        (service("rr", 1, 1, persistence_timeout=60), {A: 5, B: 5}, False),
        (service("fo", 1, 2), {B: 10}, True),
        (service("fo", 1, 2), {A: 10}, False),
        (service("ovf", 2, 1), {A: 9, B: 1}, False),
        (service("fo", 1, 0), {A: 10}, True),
        (service("sed", 1, 1), {A: 15, B: 15}, True),
        (service("sed", 1, 1), {A: 30}, False),
        (service("nq", 9, 1), {A: 29, B: 1}, True),
        (service("nq", 1, 1), {B: 30}, False),
        (service("nq", 1, 0), {A: 30}, True),
        (service("nq", 1, 0), {B: 30}, False),
        (service("rr", 0, 0), {A: 30}, False),
        (service("rr", 1, 1), {A: 15, B: 14, C: 1}, False),
    ],
)
def test_answers_are_judged_by_the_scheduler(asked: dict[str, Any], answers: dict[str, int], passed: bool) -> None:
    assert verdict(asked, answers)[0] is passed


BY_PORT = service("mh", 1, 1, scheduler_flags=["mh-port"])


@pytest.mark.parametrize(
    ("by_port", "answers", "passed"),
    [
        ({"20000": [A, A], "20001": [B, B]}, {A: 60, B: 60}, True),
        ({"20000": [A, B], "20001": [B, B]}, {A: 60, B: 60}, False),
        ({"20000": [A, A], "20001": [A, A]}, {A: 120}, False),
    ],
)
def test_a_source_port_keeps_its_server_and_all_ports_reach_all(
    by_port: dict[str, list[str]], answers: dict[str, int], passed: bool
) -> None:
    assert verdict(BY_PORT, answers, by_port=by_port)[0] is passed


def test_a_failed_connection_fails_the_service_with_its_reason() -> None:
    passed, line = verdict(service("rr", 1, 1), {A: 15, B: 14}, failures={"timed out": 1})
    assert not passed
    assert line.endswith("1 of 30 connections failed: timed out (1)")


def test_connections_to_no_server_should_fail() -> None:
    assert verdict(service("rr", 0), {}, failures={"ECONNREFUSED": 5, "not attempted": 25})[0]


def test_a_stranger_is_named() -> None:
    passed, line = verdict(service("rr", 1), {A: 29, "intruder": 1})
    assert not passed
    assert "1 answers came from intruder, which is no server of it" in line


def test_the_line_tells_who_answered_how_often() -> None:
    assert verdict(service("wrr", 2, 1), {A: 20, B: 10})[1] == (
        "PASS -t 192.0.2.10:80 wrr (in turn): 30 of 30 answered: 198.51.100.11:80 20, 198.51.100.12:80 10"
    )


def test_a_server_is_known_by_address_and_port_or_by_a_given_name() -> None:
    asked = service("rr", 1, 1)
    asked["servers"].append({"address": A, "port": 81})
    verify = {"default": {"pattern": "x", "names": {"two": B}}}
    result = {"name": "-t 192.0.2.10:80", "attempts": 30, "failures": {}, "by_port": {}}
    result["answers"] = {f"{A}:80": 10, f"{A}:81": 10, "two": 10}
    assert judge_answers([asked], [result], verify=verify)[0]["passed"]
    # two servers have this address, so it names neither
    result["answers"] = {A: 20, "two": 10}
    assert "20 answers came from 198.51.100.11, which" in judge_answers([asked], [result], verify=verify)[0]["line"]


def test_what_ipvs_did_not_count_was_answered_by_somebody_else() -> None:
    for count, explained in ((10, True), (9, True), (0, False)):
        judged = judged_by_counters(service("sh", 1, 1), {A: count, B: 0}, {"answers": {"connected": 10}})
        assert judged["passed"] is judged["explained"] is explained
    assert "IPVS did not count 10 of the answers" in judged["line"]


def judged_by_counters(
    asked: dict[str, Any],
    taken: dict[str, int],
    got: dict[str, Any],
    silent: str | None = None,
    out_of_silent: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """The verdict where each server has counted some connections, and all but the silent one an exchange for each.
    ``out_of_silent``: packets and bytes that IPVS counted as the answers of the silent one.
    """

    def counters(address: str, count: int) -> dict[str, int]:
        (packets_in, bytes_in), (packets_out, bytes_out) = (
            ((count, 60 * count), out_of_silent if count else (0, 0))
            if address == silent
            else ((4 * count, 216 * count), (3 * count, 172 * count))
        )
        return {
            "connections": 100 + count,
            "packets_in": 500 + packets_in,
            "bytes_in": 9000 + bytes_in,
            "packets_out": 300 + packets_out,
            "bytes_out": 8000 + bytes_out,
        }

    def statistics(taken: dict[str, int]) -> list[dict[str, Any]]:
        servers = [
            {"address": address, "port": 80, "counters": counters(address, count)} for address, count in taken.items()
        ]
        return [{"service": {"address": "192.0.2.10", "port": 80, "protocol": "tcp"}, "servers": servers}]

    (target,) = verify_targets([asked], verify={})
    result = {"failures": {}, "by_port": {}, "attempts": target["count"], "protocol": "tcp", **target, **got}
    before, after = statistics(dict.fromkeys(taken, 0)), statistics(taken)
    (judged,) = judge_answers([asked], [result], verify={}, before=before, after=after)
    return judged


def test_the_counters_of_all_directors_that_have_the_vip_are_added_up() -> None:
    asked = service("rr", 1, 1)
    (target,) = verify_targets([asked], verify={})

    def statistics(connections: int) -> list[dict[str, Any]]:
        counters = dict.fromkeys(("connections", "packets_in", "packets_out", "bytes_in", "bytes_out"), connections)
        servers = [{"address": address, "port": 80, "counters": counters} for address in (A, B)]
        return [{"service": {"address": "192.0.2.10", "port": 80, "protocol": "tcp"}, "servers": servers}]

    result = {"failures": {}, "by_port": {}, "attempts": 30, "protocol": "tcp", **target, "answers": {"connected": 30}}
    before = statistics(100) + statistics(200)
    for after, passed in ((statistics(105) + statistics(210), True), (statistics(105) + statistics(200), False)):
        (judged,) = judge_answers([asked], [result], verify={}, before=before, after=after)
        assert judged["passed"] is judged["explained"] is passed, judged["line"]


def test_a_service_whose_vip_no_director_has_fails() -> None:
    asked = service("rr", 1, 1)
    (judged,) = judge_answers([asked], [], verify={}, held=[])
    assert (judged["passed"], judged["line"]) == (False, "FAIL -t 192.0.2.10:80: no director has the VIP")


@pytest.mark.parametrize(("b", "passed"), [(15, True), (0, False)])
def test_without_a_pattern_the_counters_tell(b: int, passed: bool) -> None:
    judged = judged_by_counters(service("rr", 1, 1), {A: 30 - b, B: b}, {"answers": {"connected": 30}})
    assert judged["passed"] is passed


@pytest.mark.parametrize(("forward", "told"), [("nat", True), ("dr", False)])
def test_a_server_that_sent_nothing_back_has_not_answered(forward: str, told: bool) -> None:
    got = {"answers": {"connected": 15}, "failures": {"timed out": 15}}
    judged = judged_by_counters(service("rr", 1, 1, forward=forward), {A: 15, B: 15}, got, silent=B)
    assert not judged["passed"]
    assert (f"{B}:80 never answered" in judged["line"]) is told
    assert f"{A}:80 never answered" not in judged["line"]


@pytest.mark.parametrize(
    ("what", "out", "told"),
    [
        ("13 ICMP errors, each with the 60 bytes of a SYN", (13, 13 * 88), True),
        ("15 resets", (15, 15 * 40), False),
        ("handshakes", (15, 15 * 60), False),
    ],
)
def test_a_server_that_others_tell_to_be_out_of_reach_has_not_answered(
    what: str, out: tuple[int, int], told: bool
) -> None:
    got = {"answers": {"connected": 15}, "failures": {"EHOSTUNREACH": 15}}
    judged = judged_by_counters(service("rr", 1, 1), {A: 15, B: 15}, got, silent=B, out_of_silent=out)
    assert (f"{B}:80 never answered" in judged["line"]) is told, what
    # where all was answered, the same numbers are a coincidence
    got = {"answers": {"connected": 30}}
    assert judged_by_counters(service("rr", 1, 1), {A: 15, B: 15}, got, silent=B, out_of_silent=out)["passed"]


def test_a_datagram_needs_no_answer() -> None:
    got = {"answers": {"sent": 30}, "protocol": "udp"}
    assert judged_by_counters(service("rr", 1, 1), {A: 15, B: 15}, got, silent=B)["passed"]


def test_a_server_that_is_not_listed_is_told_by_its_counters() -> None:
    judged = judged_by_counters(service("rr", 1), {A: 20, C: 10}, {"answers": {"connected": 30}})
    assert f"10 answers came from {C}:80, which is no server of it" in judged["line"]
