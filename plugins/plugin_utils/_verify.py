# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What to ask of each service to see its scheduler at work, and whether the answers are what the scheduler promises.

Sources of the rules: ``net/netfilter/ipvs/ip_vs_<scheduler>.c`` and ip_vs_core.c (ip_vs_sched_persist).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

from ..module_utils import _model, _text, _values
from ..module_utils._errors import Findings, show_key
from ..module_utils._model import FLAG_PERSISTENT, FORWARDS, Entry, ServerKey
from ..module_utils._values import Field

#: Connections per service, at least, where they are judged by their number.
USUAL_CONNECTIONS = 30
#: How many of them the server with the least weight is to get by its share, so that chance does not leave it without.
SHARE = 10
#: The most connections to a service, for the ports of a client are used up by many more.
MOST_CONNECTIONS = 10_000
#: A cycle of wrr longer than this is not run through where fewer connections show every server at work.
LONGEST_CYCLE = 300
#: Source ports of a service scheduled by source port, the share of the least weight, and how often each port is used.
SOURCE_PORTS, PORTS_SHARE, REPEATS, FIRST_SOURCE_PORT = 60, 20, 2, 20000
#: Connections held open at a time take files and memory. Nothing is left to chance here, but others have theirs.
HELD_SHARE, MOST_HELD = 3, 500
#: Points of a hundred by which a share may miss its weight's where the scheduler goes by the number of connections.
TOLERANCE = 20
#: Bytes that an ICMP error puts before the packet it quotes, by the length of an address (RFC 792, RFC 4443).
BEFORE_A_QUOTE = {4: 20 + 8, 16: 40 + 8}

SETTINGS = (
    Field("send", lambda value: value),
    Field("pattern", lambda value: value),
    Field("timeout", lambda value: value),
    Field("names", lambda value: value),
    Field("address", _values.unicast),
    Field("port", _values.integer(1, 65535)),
    Field("protocol", _values.choice(*_model.PROTOCOLS)),
)
PROBE_SETTINGS = ("send", "pattern", "timeout")


class Answers(NamedTuple):
    """What came of the connections to one service: how many each server took, and which took those of each source
    port.
    """

    attempts: int
    failures: Mapping[str, int]
    counts: dict[ServerKey, int]
    by_port: dict[str, list[ServerKey]]
    strangers: dict[str, int]

    @property
    def answered(self) -> int:
        return self.attempts - sum(self.failures.values())

    @property
    def uncounted(self) -> int:
        """Answers that no server is known to have given. One is not told: a datagram from a port that was used before
        is no new connection to IPVS.
        """
        missing = self.answered - sum(self.counts.values()) - sum(self.strangers.values())
        return missing if missing > 1 else 0


class Rule(NamedTuple):
    """How a scheduler is asked and judged: the keys of the target, and a function to the faults of the answers."""

    title: str
    target: Callable[[Entry], dict[str, Any]]
    judge: Callable[[Entry, Answers], list[str]]


# rules


def _weights(entry: Entry) -> dict[ServerKey, int]:
    """The servers that take new connections. rr and lc look only whether there is a weight."""
    by_turns = entry.service.scheduler in ("rr", "lc")
    return {key: 1 if by_turns else server.weight for key, server in sorted(entry.servers.items()) if server.weight > 0}


def _cycle(entry: Entry) -> dict[ServerKey, int]:
    """How often each server comes up in one round."""
    weights = _weights(entry)
    divisor = math.gcd(*weights.values()) if weights else 1
    return {key: weight // divisor for key, weight in weights.items()}


def _enough(entry: Entry, share: int, least: int, most: int) -> int:
    """How many connections give the server with the least weight its share of them, within limits."""
    weights = _weights(entry).values()
    return min(max(least, math.ceil(share * sum(weights) / min(weights, default=1))), most)


def _shared(entry: Entry) -> int:
    return _enough(entry, SHARE, USUAL_CONNECTIONS, MOST_CONNECTIONS)


def _runs_through(length: int, entry: Entry) -> bool:
    return 0 < length <= max(LONGEST_CYCLE, _shared(entry))


def _cycles_target(entry: Entry) -> dict[str, Any]:
    length = sum(_cycle(entry).values())
    if _runs_through(length, entry):
        return {"count": length * math.ceil(USUAL_CONNECTIONS / length)}
    return _many(entry)


def _judge_cycles(entry: Entry, answers: Answers) -> list[str]:
    """rr and wrr: every round gives each server its number of connections; one off is another client's connection
    in between.
    """
    cycle = _cycle(entry)
    length = sum(cycle.values())
    if not _runs_through(length, entry):
        return _judge_shares(entry, answers)
    rounds = answers.attempts / length
    return [
        f"{_model.server_text(key)} took {answers.counts[key]}, not {times * rounds:.0f}"
        for key, times in cycle.items()
        if answers.counts.get(key) and abs(answers.counts[key] - times * rounds) > 1
    ] + _silent(entry, answers)


def _many(entry: Entry) -> dict[str, Any]:
    return {"count": _shared(entry)}


def _judge_shares(entry: Entry, answers: Answers) -> list[str]:
    """lc, wlc and twos: near the share of the weight, for they also see the connections that others made before."""
    weights = _weights(entry)
    total, taken = sum(weights.values()), sum(answers.counts.values())
    faults = []
    for key, weight in weights.items():
        share, wanted = 100 * answers.counts.get(key, 0) / max(taken, 1), 100 * weight / total
        if answers.counts.get(key) and abs(share - wanted) > TOLERANCE:
            faults.append(
                f"{_model.server_text(key)} took {share:.0f} %, more than {TOLERANCE} points from {wanted:.0f} %"
            )
    return faults + _silent(entry, answers)


def _silent(entry: Entry, answers: Answers) -> list[str]:
    return [f"{_model.server_text(key)} never answered" for key in _weights(entry) if not answers.counts.get(key)]


def _ports_target(entry: Entry) -> dict[str, Any]:
    ports = _enough(entry, PORTS_SHARE, SOURCE_PORTS, MOST_CONNECTIONS)
    return {"count": ports, "source_port": FIRST_SOURCE_PORT, "repeat": REPEATS}


def _judge_ports(entry: Entry, answers: Answers) -> list[str]:
    """sh-port and mh-port: one source port, one server; over many ports every server."""
    torn = [port for port, keys in answers.by_port.items() if len(set(keys)) > 1]
    faults = [f"{len(torn)} source ports reached more than one server, {torn[0]} for one"] if torn else []
    return faults + _silent(entry, answers)


def _few(dummy: Entry) -> dict[str, Any]:
    return {"count": 10}


def _judge_one(dummy: Entry, answers: Answers) -> list[str]:
    """sh, dh, mh, lblc, lblcr and persistence: one client, one service address, so one server."""
    reached = sorted(key for key, count in answers.counts.items() if count)
    if len(reached) < 2:
        return []
    return [f"one client reached {len(reached)} servers: {', '.join(map(_model.server_text, reached))}"]


def _judge_heaviest(entry: Entry, answers: Answers) -> list[str]:
    """fo and ovf: the heaviest server, until it has too many connections."""
    weights = _weights(entry)
    return [
        f"{_model.server_text(key)} answered, though its weight is not the highest"
        for key, count in sorted(answers.counts.items())
        if count and weights.get(key, 0) not in (0, max(weights.values()))
    ]


def _held(entry: Entry) -> dict[str, Any]:
    """sed and nq look at open connections alone: one client after the other always finds the same server idle."""
    return {"count": _enough(entry, HELD_SHARE, USUAL_CONNECTIONS, MOST_HELD), "together": True}


_CYCLES = Rule("in turn", _cycles_target, _judge_cycles)
_SHARES = Rule(f"by connections, {TOLERANCE} points allowed", _many, _judge_shares)
_PORTS = Rule("by source port", _ports_target, _judge_ports)
_ONE = Rule("one server for one client", _few, _judge_one)
_HEAVIEST = Rule("the heaviest", _few, _judge_heaviest)
_OPEN = Rule("by connections held open", _held, _silent)
_RULES = {
    "rr": _CYCLES,
    "wrr": _CYCLES,
    "lc": _SHARES,
    "wlc": _SHARES,
    "twos": _SHARES,
    "sh": _ONE,
    "dh": _ONE,
    "mh": _ONE,
    "lblc": _ONE,
    "lblcr": _ONE,
    "fo": _HEAVIEST,
    "ovf": _HEAVIEST,
    "sed": _OPEN,
    "nq": _OPEN,
}


def rule_of(entry: Entry) -> Rule:
    """The rule by which the service is asked and judged."""
    service = entry.service
    if service.flags & FLAG_PERSISTENT:
        return _ONE
    if {"sh-port", "mh-port"} & set(_text.flag_names(service.scheduler, service.flags)):
        return _PORTS
    return _RULES[service.scheduler]


# asking


class _Asked(NamedTuple):
    """A service, the settings for it, and where to reach it (``None``: nowhere known)."""

    entry: Entry
    settings: Mapping[str, Any]
    place: Optional[dict[str, Any]]


def _asked(services: object, verify: object) -> list[_Asked]:
    findings = Findings()
    table = _model.parse_services(services, "services", findings)
    chosen = _settings(verify, findings)
    findings.raise_problems()
    asked = []
    for written in services if isinstance(services, (list, tuple)) else ():
        key = _model.parse_key({n: written[n] for n in _KEY_NAMES if n in written}, "", findings)
        if key is None:
            continue
        settings = chosen.get(show_key(written.get("name")), chosen.get("default", {}))
        place: Optional[dict[str, Any]] = None
        if not key.fwmark and key.port:
            place = _text.key_params(key)
        elif "port" in settings and ("address" in settings or key.address):
            place = {
                "address": _values.show_address(settings.get("address", key.address)),
                "port": settings["port"],
                "protocol": settings.get("protocol", "tcp") if key.fwmark else _text.key_params(key)["protocol"],
            }
        asked.append(_Asked(table[key], settings, place))
    return asked


_KEY_NAMES = tuple(field.name for field in _model.KEY_FIELDS)


def _settings(verify: object, findings: Findings) -> dict[str, dict[str, Any]]:
    if not isinstance(verify, Mapping):
        findings.problem("ipvs_verify", "must be a dict of service names, or default, to settings", verify)
        return {}
    chosen: dict[str, dict[str, Any]] = {}
    for name, value in verify.items():
        chosen[show_key(name)] = _values.record(SETTINGS, value, f"ipvs_verify.{show_key(name)}", findings) or {}
    return chosen


def targets(services: object, verify: object, first_source_port: int = FIRST_SOURCE_PORT) -> list[dict[str, Any]]:
    """The targets of ``ipvs_probe`` for the plain ``services``: as many connections as the scheduler's rule needs.
    ``verify`` maps the names of services, or ``default`` for all others, to ``send``, ``pattern``, ``timeout``,
    ``names``, and for a service without an address or port of its own ``address``, ``port`` and ``protocol``.
    ``first_source_port`` is the first port of the services that are scheduled by source port.

    :raises InvalidInput: naming every problem of both.
    """
    found = []
    source_port = first_source_port
    for asked in _asked(services, verify):
        if asked.place is None:
            continue
        target = rule_of(asked.entry).target(asked.entry)
        if "source_port" in target:
            # Each service has ports of its own: IPVS finds the connection of a NAT server's answer by the server and
            # the client's address and port alone (ip_vs_conn_out_get), so one source port must not be used for two
            # services with a common server at the same time.
            if source_port + target["count"] > 65536:
                source_port = first_source_port
            target["source_port"] = source_port
            source_port += target["count"]
        settings = {name: asked.settings[name] for name in PROBE_SETTINGS if name in asked.settings}
        found.append({"name": _model.key_text(asked.entry.service.key), **asked.place, **target, **settings})
    return found


# judging


def judge(
    services: object,
    results: Sequence[Mapping[str, Any]],
    verify: object,
    before: Optional[Sequence[Mapping[str, Any]]] = None,
    after: Optional[Sequence[Mapping[str, Any]]] = None,
    held: Optional[Sequence[Mapping[str, Any]]] = None,
) -> list[dict[str, Any]]:
    """One verdict per service: ``service``, ``passed``, ``explained`` (whether it is known who gave each answer) and
    ``line``, the sentence for the reader.

    ``results`` are the targets of ``ipvs_probe``. Where a service has no pattern, who answered comes from the
    connections that its servers counted between ``before`` and ``after``, the ``statistics`` of ``ipvs_info`` on every
    director that has the VIP, one list after the other. ``held`` are the services whose VIP any director
    has; None: all.
    """
    found = {str(result["name"]): result for result in results}
    answered_for = (
        None if held is None else {_model.key_text(asked.entry.service.key) for asked in _asked(held, verify)}
    )
    verdicts = []
    for asked in _asked(services, verify):
        name = _model.key_text(asked.entry.service.key)
        if answered_for is not None and name not in answered_for:
            line = f"FAIL {name}: no director has the VIP"
            verdicts.append({"service": name, "passed": False, "explained": True, "line": line})
            continue
        if name not in found:
            line = f"FAIL {name}: not checked: ipvs_verify must name a port (and an address) that reaches it"
            verdicts.append({"service": name, "passed": False, "explained": True, "line": line})
            continue
        answers = _answers(asked, found[name], before or (), after or ())
        faults = _faults(asked.entry, answers)
        line = _line(name, asked.entry, answers, faults)
        verdicts.append({"service": name, "passed": not faults, "explained": not answers.uncounted, "line": line})
    return verdicts


def _answers(
    asked: _Asked,
    result: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
) -> Answers:
    if "pattern" not in asked.settings:
        counted = _counted(asked.entry, result, before, after)
        counts = {key: number for key, number in counted.items() if key in asked.entry.servers}
        strangers = {_model.server_text(key): counted[key] for key in counted.keys() - counts.keys() if counted[key]}
        return Answers(result["attempts"], result["failures"], counts, {}, strangers)
    keys = _names(asked)
    counts = {}
    for name, number in result["answers"].items():
        if name in keys:
            counts[keys[name]] = counts.get(keys[name], 0) + number
    by_port = {port: [keys[name] for name in names if name in keys] for port, names in result["by_port"].items()}
    strangers = {name: number for name, number in result["answers"].items() if name not in keys}
    return Answers(result["attempts"], result["failures"], counts, by_port, strangers)


def _names(asked: _Asked) -> dict[str, ServerKey]:
    """What a server may call itself: its address with or without its port, or a name that ``names`` gives to one
    of these.
    """
    keys = {_model.server_text(key): key for key in asked.entry.servers}
    shared = [key.address for key in keys.values()]
    keys.update({_values.show_address(k.address): k for k in asked.entry.servers if shared.count(k.address) == 1})
    named = {str(name): keys[str(own)] for name, own in asked.settings.get("names", {}).items() if str(own) in keys}
    return {**keys, **named}


def _counted(
    entry: Entry,
    result: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
) -> dict[ServerKey, int]:
    """How many connections each server took. IPVS counts a connection that it gives to a dead server, too; where
    connections are answered, a server by NAT, whose answers it sees, took none if it sent nothing.
    """
    first, last = _counters(entry, before), _counters(entry, after)
    counted = {}
    for key in sorted(last):
        more = {name: number - first.get(key, {}).get(name, 0) for name, number in last[key].items()}
        silent = not more["packets_out"] or (result["failures"] and _only_quoted(key, more))
        counted[key] = 0 if silent and result["protocol"] != "udp" and _is_nat(entry, key) else more["connections"]
    return counted


def _only_quoted(key: ServerKey, more: Mapping[str, int]) -> bool:
    """Whether all that came from a server are ICMP errors, by which the director or a router tells that it is out of
    reach: IPVS counts them as the server's (ip_vs_core.c, handle_response_icmp). Each quotes the first packet of a
    connection, and a client that gets no answer sends no other.
    """
    if not more["packets_in"] or more["bytes_in"] % more["packets_in"]:
        return False
    error = more["bytes_in"] // more["packets_in"] + BEFORE_A_QUOTE[len(key.address)]
    return more["bytes_out"] == error * more["packets_out"]


def _is_nat(entry: Entry, key: ServerKey) -> bool:
    return key in entry.servers and entry.servers[key].forward == FORWARDS["nat"]


def _counters(entry: Entry, statistics: Sequence[Mapping[str, Any]]) -> dict[ServerKey, Mapping[str, int]]:
    """What each server of the service has counted so far, on all directors whose ``statistics`` these are."""
    name = _text.key_params(entry.service.key)
    counters: dict[ServerKey, dict[str, int]] = {}
    for counted in statistics:
        for one in counted["servers"] if counted["service"] == name else ():
            key = _model.make_server_key(
                entry.service.key, {"address": _values.address(one["address"]), "port": one["port"]}
            )
            sums = counters.setdefault(key, {})
            for counter, number in one["counters"].items():
                sums[counter] = sums.get(counter, 0) + number
    return dict(counters)


def _faults(entry: Entry, answers: Answers) -> list[str]:
    """Every way in which the answers break a promise; the general ones first, for they often explain the others."""
    failed = sum(answers.failures.values())
    faults = []
    if failed and _weights(entry):
        reasons = ", ".join(f"{reason} ({number})" for reason, number in sorted(answers.failures.items()))
        faults.append(f"{failed} of {answers.attempts} connections failed: {reasons}")
    faults += [
        f"{number} answers came from {name}, which is no server of it" for name, number in answers.strangers.items()
    ]
    if answers.uncounted:
        faults.append(f"IPVS did not count {answers.uncounted} of the answers: somebody else gave them")
    faults += _rested(entry, answers)
    return faults + rule_of(entry).judge(entry, answers) if _weights(entry) else faults


def _rested(entry: Entry, answers: Answers) -> list[str]:
    return [
        f"{_model.server_text(key)} answered {count} times with weight 0"
        for key, count in sorted(answers.counts.items())
        if count and entry.servers[key].weight == 0
    ]


def _line(name: str, entry: Entry, answers: Answers, faults: Sequence[str]) -> str:
    shares = ", ".join(f"{_model.server_text(key)} {answers.counts.get(key, 0)}" for key in sorted(entry.servers))
    scheduler = " ".join([entry.service.scheduler, *_text.flag_names(entry.service.scheduler, entry.service.flags)])
    asked = f"{answers.answered} of {answers.attempts} answered"
    summary = f"{name} {scheduler} ({rule_of(entry).title}): {asked}: {shares}"
    return f"FAIL {summary}: {'; '.join(faults)}" if faults else f"PASS {summary}"
