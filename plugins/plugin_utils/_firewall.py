# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Whether a packet passes the filters of a host, as ``l4lb.ipvs.ipvs_host_info`` returns them. Pure.

What a rule asks is known, known not to hold, or unknown, and so is the answer: a rule that may accept makes what the
chain would drop uncertain, and one that may drop is no reason to warn.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..module_utils import _model, _text
from ..module_utils._model import AF_INET
from ._lint import listed
from ._reading import Address, Danger, Network, ip, on_link

PASSES, UNCERTAIN, DROPS = "passes", "uncertain", "drops"
#: The words of a user who accepts it, by the hook.
ALLOWANCES = {"input": "input_drop", "forward": "forward_drop", "output": "output_drop"}
#: IP protocols by the names that nft has for them, from /etc/protocols. Its "ipip" is not the protocol of ipip tunnels.
NUMBERS = {
    "icmp": 1,
    "ipencap": 4,
    "ipv4": 4,
    "ipip": 94,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "sctp": 132,
    "udplite": 136,
    "dccp": 33,
}


class Packet(NamedTuple):
    """A packet at one hook; None where any may be. ``state`` is what connection tracking makes of it."""

    version: int
    protocol: Optional[str]
    iif: Optional[str] = None
    oif: Optional[str] = None
    source: Optional[Address] = None
    target: Optional[Address] = None
    source_port: Optional[int] = None
    target_port: Optional[int] = None
    state: Optional[str] = None


class Ask(NamedTuple):
    """Packets that must pass a hook, of which one that passes is enough, and what a person calls them."""

    hook: str
    text: str
    packets: tuple[Packet, ...]
    #: What else to do than to accept them.
    remedy: str = ""


def tunnelled(server: _model.Server, inner: int, **facts: Any) -> Packet:
    """What a director sends to a server by a tunnel; ``inner`` is the family of the service."""
    params = _text.server_params(server)
    protocol = {"gre": "gre", "gue": "udp"}.get(params["tunnel_type"], "ipencap" if inner == AF_INET else "ipv6")
    port = params["tunnel_port"] if params["tunnel_type"] == "gue" else None
    address = ip(server.key.address)
    return Packet(address.version, protocol, target=address, target_port=port, **facts)


def text_of(packet: Packet, word: str = "to") -> str:
    """What a person calls it: ``tcp to 192.0.2.10 port 443``."""
    address, port = (packet.target, packet.target_port) if word == "to" else (packet.source, packet.source_port)
    number = "" if packet.protocol in (None, *_model.PROTOCOLS) else f" (IP protocol {NUMBERS[packet.protocol or '']})"
    return f"{packet.protocol or 'all'}{number} {word} {address}" + (f" port {port}" if port else "")


def ways(address: Address, host: Mapping[str, Any], interfaces: Sequence[Network]) -> list[Optional[str]]:
    """The interfaces at which clients of the address, or what they send, may arrive."""
    family = f"ipv{address.version}"
    leading = {one["interface"] for one in host["gateways"] if one["family"] == family}
    names = leading | {*on_link(address, interfaces)}
    return sorted(names or {one["name"] for one in host["interfaces"] if one["name"] != "lo"}) or [None]


# matches


def holds(match: Mapping[str, Any], packet: Packet) -> Optional[bool]:
    """Whether the packet is what the match asks for; None where that is unknown."""
    layer, dummy, field = match["what"].partition(" ")
    if layer in ("ip", "ip6") and packet.version != (4 if layer == "ip" else 6):
        return False
    if layer in NUMBERS and packet.protocol is not None and NUMBERS[layer] != NUMBERS.get(packet.protocol):
        return False
    fact, equal = _fact(layer, field, packet)
    if fact is None or match["op"] not in ("==", "!="):
        return None
    found = [equal(fact, value) for value in match["values"]]
    held = True if True in found else None if None in found else False
    return held if held is None or match["op"] == "==" else not held


def _fact(layer: str, field: str, packet: Packet) -> tuple[Any, Any]:
    if layer in ("tcp", "udp", "sctp", "th"):
        return {"sport": packet.source_port, "dport": packet.target_port}.get(field), _in_range
    if layer in ("ip", "ip6") and field in ("saddr", "daddr"):
        return packet.source if field == "saddr" else packet.target, _in_network
    facts: dict[str, tuple[Any, Any]] = {
        **dict.fromkeys(("meta iifname", "meta iif"), (packet.iif, _same_name)),
        **dict.fromkeys(("meta oifname", "meta oif"), (packet.oif, _same_name)),
        **dict.fromkeys(("meta l4proto", "ip protocol", "ip6 nexthdr"), (packet.protocol, _same_protocol)),
        "meta nfproto": (f"ipv{packet.version}", _same),
        "meta protocol": ("ip" if packet.version == 4 else "ip6", _same),
        "ct state": (packet.state, _same),
        # nothing translates balanced packets before they are here
        "ct status": ("confirmed", lambda fact, value: False if value in ("dnat", "snat") else None),
    }
    return facts.get(f"{layer} {field}", (None, None))


def _same(fact: object, value: object) -> bool:
    return fact == value


def _same_protocol(fact: str, value: object) -> Optional[bool]:
    number = NUMBERS.get(value) if isinstance(value, str) else value
    return number == NUMBERS[fact] if isinstance(number, int) else None


def _same_name(fact: str, value: object) -> bool:
    return isinstance(value, str) and (fact == value or (value.endswith("*") and fact.startswith(value[:-1])))


def _in_network(fact: Address, value: Any) -> Optional[bool]:
    try:
        if isinstance(value, Mapping) and "prefix" in value:
            value = f"{value['prefix']['addr']}/{value['prefix']['len']}"
        if isinstance(value, Mapping) and "range" in value:
            low, high = (ipaddress.ip_address(end) for end in value["range"])
            return bool(low.version == fact.version and int(low) <= int(fact) <= int(high))
        return bool(fact in ipaddress.ip_network(value, strict=False))
    except (TypeError, ValueError):
        return None


def _in_range(fact: int, value: Any) -> Optional[bool]:
    if isinstance(value, Mapping) and "range" in value:
        low, high = value["range"]
        return bool(low <= fact <= high)
    return fact == value if isinstance(value, int) else None


# chains


def passage(chain: Mapping[str, Any], packet: Packet) -> tuple[str, str]:
    """How the packet comes through one base chain, and what drops it, in words."""
    if {"ip": 4, "ip6": 6}.get(chain["family"], packet.version) != packet.version:
        return PASSES, ""
    ends = dict(_ends(chain["chain"], chain["rules"], chain, packet, {}))
    if ends.pop("return", None) is not None:
        ends[chain["policy"]] = "its policy"
    if "accept" in ends:
        return PASSES, ""
    return UNCERTAIN if "perhaps" in ends else DROPS, ends.get("drop", "its policy")


def _ends(
    name: str,
    rules: Sequence[Mapping[str, Any]],
    chain: Mapping[str, Any],
    packet: Packet,
    known: dict[str, dict[str, str]],
) -> dict[str, str]:
    """The ends that a packet may come to in these rules, by what brings it there: accept, drop, return and perhaps,
    which is an accept that may not be meant for it.
    """
    if name in known:
        return known[name]
    known[name] = ends = {}
    for rule in rules:
        asked = [holds(match, packet) for match in rule["matches"]]
        if False in asked:
            continue
        certain = None not in asked
        verdict, target = rule["verdict"], rule["target"]
        if target:
            there = _ends(target, chain["chains"].get(target, ()), chain, packet, known)
        else:
            there = {verdict: f"rule {rule['handle']} of chain {name}"}
        if not certain:
            if there.keys() & {"accept", "perhaps"}:
                ends["perhaps"] = ""
            if verdict == "return":
                ends["return"] = ""
            continue
        ends.update((end, by) for end, by in there.items() if end != "return" or verdict != "jump")
        if not (verdict == "jump" and "return" in there):
            return ends
    ends["return"] = ""
    return ends


# dangers


def _at(hook: str, ask: Ask) -> tuple[Packet, ...]:
    """The packets as they are at a hook, if they pass it. What arrives has no way out before it is routed."""
    if hook == "prerouting" and ask.hook in ("input", "forward"):
        return tuple(packet._replace(oif=None) for packet in ask.packets)
    return ask.packets if hook == ask.hook else ()


def dangers(
    chains: Iterable[Mapping[str, Any]], asks: Sequence[Ask], allow: Sequence[str]
) -> tuple[list[Danger], list[str]]:
    """What the chains drop for certain; and as sentences what they may drop, which a user who accepts that knows."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for chain in chains:
        for ask in dict.fromkeys(asks):
            ways = [passage(chain, packet) for packet in _at(chain["hook"], ask)]
            best = min(ways, key=lambda way: (PASSES, UNCERTAIN, DROPS).index(way[0]), default=(PASSES, ""))
            if best[0] != PASSES:
                told = f"the chain {chain['chain']} of table {chain['table']}"
                found.setdefault((told, ask.hook, ask.remedy, "/".join(best)), []).append(ask.text)
    certain, perhaps = [], []
    for (told, hook, remedy, way), texts in found.items():
        verdict, by = way.split("/", 1)
        drops = "drops" if verdict == DROPS else "may drop"
        what = listed("packet", list(dict.fromkeys(texts)))
        text = f"{told} {drops} {what} ({by}): accept them there{remedy}"
        if verdict == DROPS:
            certain.append(Danger(text, ALLOWANCES[hook]))
        elif ALLOWANCES[hook] not in allow:
            perhaps.append(text)
    return certain, perhaps
