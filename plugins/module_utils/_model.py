# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The IPVS table as immutable values: what a kernel holds, and what a user writes.
The values carry the kernel's own numbers (``include/uapi/linux/ip_vs.h``), so that two of them are equal exactly when
the kernel would behave the same, and sort as ipvsadm(8) sorts. Words exist only at the edge: :func:`parse_services` and
its kin read what a user wrote, and ``_text`` tells the values.
"""

from __future__ import annotations

import marshal
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import _values
from ._errors import BadValue, Finding, Findings, Place, at
from ._hints import SERVER_WORDS, SERVICE_WORDS, Hints
from ._values import Field

AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)

FAMILIES = {"ipv4": AF_INET, "ipv6": AF_INET6}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
FORWARDS = {"nat": 0, "tun": 2, "dr": 3}
_NAT, _TUN = FORWARDS["nat"], FORWARDS["tun"]
_METHODS = frozenset(FORWARDS.values())
TUNNEL_TYPES = {"ipip": 0, "gue": 1, "gre": 2}
TUNNEL_CHECKSUMS = {"none": 0, "csum": 1, "remcsum": 2}
#: Schedulers of kernels 4.18 to 7.2; each is a module named ip_vs_<scheduler>.
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "twos")
ENGINES = ("sip",)

FLAG_PERSISTENT = 0x1
FLAG_HASHED = 0x2  # the kernel's own mark on every live service, never a wish
FLAG_ONE_PACKET = 0x4
SCHEDULER_FLAGS = 0xFFFFFFFF & ~(FLAG_PERSISTENT | FLAG_HASHED | FLAG_ONE_PACKET)
#: A flag's bit, and the scheduler it belongs to (None: any). ipvsadm shows the named form where the scheduler has one.
FLAG_WORDS = {
    "sh-fallback": (0x8, "sh"),
    "sh-port": (0x10, "sh"),
    "mh-fallback": (0x8, "mh"),
    "mh-port": (0x10, "mh"),
    "flag-1": (0x8, None),
    "flag-2": (0x10, None),
    "flag-3": (0x20, None),
}
_KNOWN_FLAGS = 0x3F
#: Flags that a kernel keeps and no scheduler has: a foreign entry may hold them.
UNKNOWN_FLAGS = {f"flag-{number}": 4 << number for number in range(4, 30)}

DEFAULT_SCHEDULER = "wlc"
DEFAULT_FORWARD = "dr"
MAX_PERSISTENCE = 2678400  # 31 days, ipvsadm's MAX_TIMEOUT; the kernel's seconds * HZ wraps in 32 bits far above
MAX_INT = 2**31 - 1
MAX_UNSIGNED = 2**32 - 1
USUAL_WEIGHT = 65535  # the limit of ipvsadm 1.31, which Debian raises to the kernel's
SH_SLOTS = 256  # CONFIG_IP_VS_SH_TAB_BITS=8
MH_SLOTS = 4093  # CONFIG_IP_VS_MH_TAB_INDEX=12
MAX_SERVICES = 100_000
MAX_SERVERS = 100_000
#: The most servers of all services of a table: one list of them may stand under many services.
MAX_ALL_SERVERS = 1_000_000
#: Nothing is looked at after so many problems that nothing live excuses: who has them lists something else.
MAX_PROBLEMS = 10_000

INVENTORY_KEYS = (
    "servers_from",
    "addresses",
    "ports",
    "pool",
    "directors",
    "return_path",
    "return_via",
    "prepared",
    "mark",
)
SERVICE_HINTS = Hints(INVENTORY_KEYS, SERVICE_WORDS)
_SERVER_HINTS = Hints((), SERVER_WORDS)
_PORT_RANGE = re.compile(r"[0-9]+ *- *[0-9]+", re.ASCII)


class ServiceKey(NamedTuple):
    """What makes a virtual service this one: address, port and protocol, or a firewall mark and a family.
    ``address`` is packed (4 or 16 bytes in network order). A fwmark service has protocol 0, address b"" and port 0; any
    other has fwmark 0. The order of the fields is ipvsadm's order of services.
    """

    fwmark: int
    family: int
    protocol: int
    address: bytes
    port: int


class Service(NamedTuple):
    """A virtual service. ``timeout`` in seconds and ``netmask`` (IPv4: the mask as a number, IPv6: the prefix length)
    are those of persistence and have their neutral values (0 and all ones) without :data:`FLAG_PERSISTENT`; ``engine``
    is "" for none.
    """

    key: ServiceKey
    scheduler: str
    flags: int
    timeout: int
    netmask: int
    engine: str


class ServerKey(NamedTuple):
    """What makes a real server this one within its service."""

    family: int
    address: bytes
    port: int


class Server(NamedTuple):
    """A real server. The thresholds are connections, 0 for none; the tunnel fields are 0 unless ``forward`` is tun."""

    key: ServerKey
    forward: int
    weight: int
    upper: int
    lower: int
    tunnel_type: int
    tunnel_port: int
    tunnel_flags: int


class Entry(NamedTuple):
    """A virtual service with its real servers."""

    service: Service
    servers: dict[ServerKey, Server]


Table = dict[ServiceKey, Entry]


def full_netmask(family: int) -> int:
    """The netmask that gives every client its own persistence template."""
    return 0xFFFFFFFF if family == AF_INET else 128


def normal_service(service: Service) -> Service:
    """``service`` as the model compares it: without the kernel's own mark, and without the remains of a persistence
    switched off.
    """
    key, scheduler, flags, timeout, netmask, engine = service
    flags &= ~FLAG_HASHED
    if not flags & FLAG_PERSISTENT:
        timeout, netmask = 0, full_netmask(key.family)
    return Service(key, scheduler, flags, timeout, netmask, engine)


def normal_server(server: Server) -> Server:
    """``server`` as the model compares it: tunnel attributes mean nothing unless it is reached through a tunnel."""
    if server.forward == _TUN:
        return server
    return server._replace(tunnel_type=0, tunnel_port=0, tunnel_flags=0)


# names, as problems tell them


def _endpoint(address: bytes, port: int) -> str:
    shown = _values.show_address(address)
    return f"{shown}:{port}" if len(address) == 4 else f"[{shown}]:{port}"


_PROTOCOL_OPTIONS = {6: "-t", 17: "-u", 132: "--sctp-service"}


def key_text(key: ServiceKey) -> str:
    """How ipvsadm names a service, e.g. ``-t 192.0.2.10:443`` or ``-f 7 -6``; a protocol ipvsadm has no option for by
    its number.
    """
    if key.fwmark:
        return f"-f {key.fwmark}" + (" -6" if key.family == AF_INET6 else "")
    option = _PROTOCOL_OPTIONS.get(key.protocol, f"--protocol-{key.protocol}")
    return f"{option} {_endpoint(key.address, key.port)}"


def server_text(key: ServerKey) -> str:
    """How ipvsadm names a server, e.g. ``198.51.100.11:8443``."""
    return _endpoint(key.address, key.port)


def word_of(words: Mapping[str, int], number: int) -> str:
    """The word for the kernel's number. A foreign entry may hold one that has none; the number is the honest answer."""
    return next((word for word, known in words.items() if known == number), str(number))


def prefix_mask(length: int) -> int:
    """The IPv4 netmask of this many ones."""
    return (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF


# words, as users write


def _netmask(value: object) -> object:
    """A prefix length (int), or an IPv4 mask (4 bytes): which of them fits depends on the service's family."""
    if isinstance(value, str) and "." in value:
        return _values.address(value)
    return _values.integer(0, 128)(value)


_UNKNOWN_SCHEDULER = "unknown scheduler; known:"


def _items(value: object) -> object:
    if value is None or value == "":
        raise BadValue("must be a list")
    return value


_port = _values.integer(0, 65535)


def port(value: object) -> int:
    """The port of a service."""
    try:
        return int(_port(value))
    except BadValue:
        if isinstance(value, str) and _PORT_RANGE.fullmatch(value):
            raise BadValue(
                "must be one port; a range goes by a firewall mark: use fwmark, and in the inventory mark with ports"
            ) from None
        raise


# Fields take whatever a kernel can hold: what breaks a rule of ours may be live (see :func:`settle`).
KEY_FIELDS = (
    Field("address", _values.any_address),
    Field("port", port),
    Field("protocol", _values.number_of(PROTOCOLS, 65535)),
    Field("fwmark", _values.integer(1, MAX_UNSIGNED)),
    Field("family", _values.choice(*FAMILIES)),
)
OPTION_FIELDS = (
    Field("scheduler", _values.name_of(*SCHEDULERS, what=_UNKNOWN_SCHEDULER)),
    Field("scheduler_flags", _values.words_of(*FLAG_WORDS, unlisted=tuple(UNKNOWN_FLAGS))),
    Field("persistence_timeout", _values.integer(0, MAX_PERSISTENCE, MAX_UNSIGNED)),
    Field("persistence_netmask", _netmask),
    Field("persistence_engine", _values.name_of("none", *ENGINES)),
    Field("one_packet", _values.boolean),
)
LIST_FIELDS = (
    Field("name", _values.text),
    Field("forward", _values.choice(*FORWARDS)),
    Field("servers", _items),
)
SERVICE_FIELDS = KEY_FIELDS + OPTION_FIELDS
SERVER_FIELDS = (
    Field("address", _values.any_address, required=True),
    Field("port", _values.integer(0, 65535)),
    Field("forward", _values.number_of(FORWARDS, 7)),
    Field("weight", _values.integer(0, MAX_INT)),
    Field("upper_threshold", _values.integer(0, MAX_INT, MAX_UNSIGNED)),
    Field("lower_threshold", _values.integer(0, MAX_INT, MAX_UNSIGNED)),
    Field("tunnel_type", _values.number_of(TUNNEL_TYPES, 255)),
    Field("tunnel_port", _values.integer(1, 65535)),
    Field("tunnel_checksum", _values.number_of(TUNNEL_CHECKSUMS, 65535)),
)
SERVER_KEY_FIELDS = SERVER_FIELDS[:2]
ENTRY_FIELDS = SERVICE_FIELDS + LIST_FIELDS
_good_entry = _values.good_record(ENTRY_FIELDS)
_good_server = _values.good_record(SERVER_FIELDS)


def make_key(
    given: Mapping[str, Any], written: Mapping[str, Any], path: Place, findings: Findings
) -> Optional[ServiceKey]:
    """The identity of a service from its parsed keys ``given``; ``written`` is what the user wrote, to tell missing
    from bad.
    """
    if "fwmark" in written:
        both = [name for name in ("address", "port", "protocol") if name in written]
        if both:
            findings.problem(at(path, "fwmark"), f"excludes {', '.join(both)}", written["fwmark"])
        if "family" not in written:
            findings.problem(at(path, "family"), "is required with fwmark (ipv4 or ipv6)")
        if both or "fwmark" not in given or "family" not in given:
            return None
        return ServiceKey(given["fwmark"], FAMILIES[given["family"]], 0, b"", 0)
    missing = [name for name in ("address", "port") if name not in written]
    for name in missing:
        findings.problem(at(path, name), "is required (or fwmark with family)")
    if missing or "address" not in given or "port" not in given or ("protocol" in written and "protocol" not in given):
        rule = _values.why_not_unicast(given["address"]) if "address" in given else ""
        if rule:
            findings.problem(at(path, "address"), rule, written["address"])
        return None
    address = given["address"]
    if "family" in written:
        findings.problem(at(path, "family"), "goes with fwmark; an address tells its own", written["family"])
        return None
    if _values.is_loopback(address):
        findings.warning(at(path, "address"), "a loopback address serves this host alone", written["address"])
    family = AF_INET if len(address) == 4 else AF_INET6
    return ServiceKey(0, family, given.get("protocol", PROTOCOLS["tcp"]), address, given["port"])


_CROWD = "mh_slots"  # the rule whose value is a count


class Broken(NamedTuple):
    """A rule that an object breaks: what logic knows it by, the option, the words, and the value."""

    rule_id: str
    option: str
    rule: str
    value: Any


#: What names an object of a table: its service, and a server of it if it is one.
Subject = tuple[ServiceKey, Optional[ServerKey]]


def _report(broken: Iterable[Broken], subject: Subject, path: Place, findings: Findings) -> None:
    for rule_id, option, rule, value in broken:
        findings.problems.append(Finding(at(path, option), rule, value, subject, rule_id))


def settle(findings: Findings, live: Table) -> None:
    """Turn into a warning each problem that the ``live`` object has as well: it is no new input. What every kernel can
    hold is kept that way, whoever made it.
    """
    problems, findings.problems = findings.problems, []
    for one in problems:
        if one.subject is not None and any(_excuses(broken, one) for broken in _live_breaks(one.subject, live)):
            findings.warning(one.path, f"{one.rule}; kept, because it is live", one.value)
        else:
            findings.problems.append(one)


def _excuses(broken: Broken, problem: Finding) -> bool:
    """Whether what is live breaks the same rule with the same value; of a crowd, with as many or more."""
    if broken.rule_id != problem.rule_id:
        return False
    return bool(broken.value >= problem.value if broken.rule_id == _CROWD else broken.value == problem.value)


def _live_breaks(subject: Any, live: Table) -> list[Broken]:
    key, server_key = subject
    entry = live.get(key)
    if entry and server_key is None:
        return _service_breaks(entry.service) + _crowd_breaks(entry.service, entry.servers)
    if entry and server_key in entry.servers:
        server = entry.servers[server_key]
        return _server_breaks(server) + _place_breaks(key, server)
    return []


def _key_breaks(key: ServiceKey) -> list[Broken]:
    """The rules that the identity of a service breaks."""
    if key.fwmark:
        return []
    broken: list[Broken] = []
    rule = _values.why_not_unicast(key.address)
    if rule:
        broken.append(Broken("key_address", "address", rule, _values.show_address(key.address)))
    if key.protocol not in _PROTOCOL_OPTIONS:
        rule = f"must be one of {', '.join(PROTOCOLS)}"
        broken.append(Broken("key_protocol", "protocol", rule, str(key.protocol)))
    return broken


def _option_breaks(service: Service) -> list[Broken]:
    """The rules that single options of a service break."""
    dummy, scheduler, flags, timeout, dummy_netmask, engine = service
    broken: list[Broken] = []
    if scheduler not in SCHEDULERS:
        rule = f"{_UNKNOWN_SCHEDULER} {', '.join(SCHEDULERS)}"
        broken.append(Broken("scheduler", "scheduler", rule, scheduler))
    if flags > _KNOWN_FLAGS:
        rule = f"must be one of {', '.join(FLAG_WORDS)}"
        unknown = [word for word, bit in UNKNOWN_FLAGS.items() if flags & bit]
        broken += [Broken("scheduler_flags", "scheduler_flags", rule, word) for word in unknown]
    if timeout > MAX_PERSISTENCE:
        rule = f"must be an integer 0..{MAX_PERSISTENCE}"
        broken.append(Broken("persistence_timeout", "persistence_timeout", rule, timeout))
    if engine and engine not in ENGINES:
        rule = f"must be one of none, {', '.join(ENGINES)}"
        broken.append(Broken("persistence_engine", "persistence_engine", rule, engine))
    return broken


def _service_breaks(service: Service) -> list[Broken]:
    """The rules that a service breaks. Sources: ipvsadm.c (process_options), ip_vs_pe_sip.c."""
    key, dummy, flags, timeout, dummy_netmask, engine = service
    broken = _key_breaks(key) + _option_breaks(service)
    udp = key.fwmark or key.protocol == PROTOCOLS["udp"]
    if not timeout:
        if not key.fwmark and not key.port:
            broken.append(Broken("every_port", "port", "0 (every port) needs persistence_timeout", 0))
        if flags & FLAG_PERSISTENT:
            broken.append(Broken("netmask_alone", "persistence_netmask", "needs persistence_timeout", None))
    if flags & FLAG_ONE_PACKET and not udp:
        broken.append(Broken("one_packet_udp", "one_packet", "is only for udp", True))
    if engine in ENGINES and not (udp and timeout):
        broken.append(Broken("engine_udp", "persistence_engine", "needs udp and persistence_timeout", engine))
    return broken


def make_service(
    key: ServiceKey, given: Mapping[str, Any], live: Optional[Service], path: Place, findings: Findings
) -> Service:
    """A service from its parsed options. What is not given comes from ``live``, or is the default where there is none.
    Flags belong to a scheduler: a change of scheduler without ``scheduler_flags`` drops those of the old one
    (ipvsadm.c: parse_sched_flags). A netmask means persistence: a foreign service can have it with 0 seconds.
    """
    base = live or Service(key, DEFAULT_SCHEDULER, 0, 0, full_netmask(key.family), "")
    scheduler = given.get("scheduler", base.scheduler)
    flags = base.flags & SCHEDULER_FLAGS if scheduler == base.scheduler else 0
    if "scheduler_flags" in given:
        flags = 0
        for word in given["scheduler_flags"]:
            bit, owner = FLAG_WORDS.get(word) or (UNKNOWN_FLAGS[word], None)
            flags |= bit
            if owner not in (None, scheduler) and scheduler in SCHEDULERS:
                findings.problem(at(path, "scheduler_flags"), f"{word} is only for scheduler {owner}, not {scheduler}")
    timeout = given.get("persistence_timeout", base.timeout)
    persistent = (
        timeout > 0
        or "persistence_netmask" in given
        or ("persistence_timeout" not in given and base.flags & FLAG_PERSISTENT)
    )
    one_packet = given.get("one_packet", bool(base.flags & FLAG_ONE_PACKET))
    engine = given.get("persistence_engine", base.engine or "none")
    netmask = base.netmask
    if "persistence_netmask" in given:
        netmask = _service_netmask(key.family, given["persistence_netmask"], path, findings)
    flags |= (FLAG_PERSISTENT if persistent else 0) | (FLAG_ONE_PACKET if one_packet else 0)
    service = normal_service(Service(key, scheduler, flags, timeout, netmask, "" if engine == "none" else engine))
    _report(_service_breaks(service), (key, None), path, findings)
    return service


def _service_netmask(family: int, given: Any, path: Place, findings: Findings) -> int:
    where = at(path, "persistence_netmask")
    if family == AF_INET6:
        if isinstance(given, bytes) or not 1 <= given <= 128:
            findings.problem(where, "must be a prefix length 1..128 for IPv6", _shown_netmask(given))
            return 128
        return int(given)
    if isinstance(given, bytes):
        mask = int.from_bytes(given[:4], "big")
        if len(given) == 16:
            findings.problem(where, "must be a prefix length 0..32 or a dotted mask for IPv4", _shown_netmask(given))
        elif not re.match("1*0*$", f"{mask:032b}"):
            findings.warning(where, "is not a contiguous mask", _shown_netmask(given))
        return mask
    if given > 32:
        findings.problem(where, "must be a prefix length 0..32 or a dotted mask for IPv4", given)
        return 0
    return prefix_mask(given)


def _shown_netmask(given: Any) -> object:
    return _values.show_address(given) if isinstance(given, bytes) else given


#: What a new server has by default, for each forwarding method; the key is another's.
_NEW_SERVERS = {word: Server(ServerKey(AF_INET, b"", 0), number, 1, 0, 0, 0, 0, 0) for word, number in FORWARDS.items()}


_TUNNEL_WORDS: dict[str, dict[str, int]] = {
    "tunnel_type": TUNNEL_TYPES,
    "tunnel_port": {},
    "tunnel_checksum": TUNNEL_CHECKSUMS,
}


def make_server_key(key: ServiceKey, given: Mapping[str, Any]) -> ServerKey:
    """The identity of a server from its parsed keys; its port defaults to the service's (0, the packet's own, with a
    fwmark).
    """
    address = given["address"]
    return ServerKey(AF_INET if len(address) == 4 else AF_INET6, address, given.get("port", key.port))


def make_server(
    key: ServiceKey,
    given: Mapping[str, Any],
    live: Optional[Server],
    forward: str,
    path: Place,
    findings: Findings,
) -> Server:
    """A server of the service ``key`` from its parsed keys. What is not given comes from ``live``, or is the default
    where there is none; ``forward`` is the default method. Rules: ipvsadm.c (process_options, tunnel_types_v_options),
    ip_vs_ctl.c (ip_vs_add_dest, ip_vs_genl_parse_dest).
    """
    identity = make_server_key(key, given)
    base = live or _NEW_SERVERS[forward]
    method = given.get("forward", base.forward)
    weight = given.get("weight", base.weight)
    upper = given.get("upper_threshold", base.upper)
    lower = given.get("lower_threshold", base.lower)
    if weight > USUAL_WEIGHT:
        findings.warning(
            at(path, "weight"), f"is above {USUAL_WEIGHT}, the most that ipvsadm restores except Debian's", weight
        )
    if method == _TUN:
        server = Server(identity, method, weight, upper, lower, *_tunnel(given, base))
    else:
        server = Server(identity, method, weight, upper, lower, 0, 0, 0)
    _report(_server_breaks(server) + _place_breaks(key, server), (key, identity), path, findings)
    if method != _NAT and _values.is_loopback(identity.address):
        rule = (
            f"a loopback address is this host, which gets packets by forward {word_of(FORWARDS, method)} "
            "as they are: a program here must listen on the service's address"
        )
        findings.warning(at(path, "address"), rule, _values.show_address(identity.address))
    if method != _TUN:
        for name, words in _TUNNEL_WORDS.items():
            if name in given:
                value = word_of(words, given[name]) if words else given[name]
                findings.problem(at(path, name), "is only for forward tun", value)
    return server


def _server_key_breaks(key: ServerKey) -> list[Broken]:
    """The rules that the identity of a server breaks, whatever its service."""
    rule = _values.why_not_unicast(key.address)
    return [Broken("server_address", "address", rule, _values.show_address(key.address))] if rule else []


def _value_breaks(server: Server) -> list[Broken]:
    """The rules that single options of a server break."""
    broken = _server_key_breaks(server.key)
    if server.forward not in _METHODS:
        rule = f"must be one of {', '.join(FORWARDS)}"
        broken.append(Broken("forward", "forward", rule, str(server.forward)))
    for name, number in (("upper_threshold", server.upper), ("lower_threshold", server.lower)):
        if number > MAX_INT:
            broken.append(Broken(name, name, f"must be an integer 0..{MAX_INT}", number))
    if server.tunnel_type > TUNNEL_TYPES["gre"]:
        rule = f"must be one of {', '.join(TUNNEL_TYPES)}"
        broken.append(Broken("tunnel_type", "tunnel_type", rule, str(server.tunnel_type)))
    if server.tunnel_flags > TUNNEL_CHECKSUMS["remcsum"]:
        rule = f"must be one of {', '.join(TUNNEL_CHECKSUMS)}"
        broken.append(Broken("tunnel_checksum", "tunnel_checksum", rule, str(server.tunnel_flags)))
    return broken


def _server_breaks(server: Server) -> list[Broken]:
    """The rules that a server breaks, whatever its service."""
    broken = _value_breaks(server)
    if server.lower > server.upper:
        rule = f"must not be above upper_threshold ({server.upper})"
        broken.append(Broken("lower_above_upper", "lower_threshold", rule, server.lower))
    return broken + _tunnel_breaks(server) if server.forward == _TUN else broken


def _tunnel_breaks(server: Server) -> list[Broken]:
    broken: list[Broken] = []
    kind, port, flags = server.tunnel_type, server.tunnel_port, server.tunnel_flags
    gue, ipip = TUNNEL_TYPES["gue"], TUNNEL_TYPES["ipip"]
    if kind == gue and not port:
        broken.append(Broken("gue_port", "tunnel_port", "is required with tunnel_type gue", None))
    if kind != gue and port:
        broken.append(Broken("tunnel_port", "tunnel_port", "is only for tunnel_type gue", port))
    if flags == TUNNEL_CHECKSUMS["remcsum"] and kind != gue:
        broken.append(Broken("remcsum", "tunnel_checksum", "remcsum is only for tunnel_type gue", None))
    if flags == TUNNEL_CHECKSUMS["csum"] and kind == ipip:
        broken.append(Broken("csum", "tunnel_checksum", "csum is only for tunnel_type gue or gre", None))
    return broken


def _place_breaks(key: ServiceKey, server: Server) -> list[Broken]:
    """The rules that a server breaks within its service."""
    identity, method = server[:2]
    family, address, port = identity
    broken: list[Broken] = []
    if method != _NAT and not key.fwmark and port != key.port:
        rule = (
            f"must be the service's port {key.port} with forward {word_of(FORWARDS, method)}, which does not rewrite it"
        )
        # of another method, it is another mistake
        broken.append(Broken(f"place_port_{method}", "port", rule, port))
    if method != _TUN and family != key.family:
        rule = "must be of its service's family; only forward tun mixes"
        broken.append(Broken("place_family", "address", rule, server_text(identity)))
    if address == key.address and port == key.port:
        broken.append(Broken("place_itself", "address", "is the service itself", server_text(identity)))
    return broken


def _tunnel(given: Mapping[str, Any], base: Server) -> tuple[int, int, int]:
    kind = given.get("tunnel_type", base.tunnel_type)
    same = kind == base.tunnel_type
    port = given.get("tunnel_port", base.tunnel_port if same else 0)
    return kind, port, given.get("tunnel_checksum", base.tunnel_flags if same else 0)


def _refuse_inventory_keys(value: object, path: Place, findings: Findings) -> object:
    if not isinstance(value, Mapping):
        return value
    for name in INVENTORY_KEYS:
        if name in value:
            findings.problem(
                at(path, name), "is known to the inventory only: pass the services through l4lb.ipvs.resolve_services"
            )
    return {name: item for name, item in value.items() if name not in INVENTORY_KEYS}


def parse_key(value: object, path: Place, findings: Findings) -> Optional[ServiceKey]:
    """A dict that names a service -> its key, or ``None`` with the problems in ``findings``."""
    given = _values.record(KEY_FIELDS, value, path, findings)
    if given is None or not isinstance(value, Mapping):
        return None
    key = make_key(given, value, path, findings)
    if key is not None:
        _report(_key_breaks(key), (key, None), path, findings)
    return key


def parse_server_of(
    service: object, server: object, path: Place, findings: Findings
) -> Optional[tuple[ServiceKey, ServerKey]]:
    """Dicts that name a service and one of its servers -> their keys, or ``None`` if they name none; every problem goes
    to ``findings``.
    """
    key = parse_key(service, at(path, "service"), findings)
    given = _values.record(SERVER_KEY_FIELDS, server, at(path, "server"), findings)
    if key is None or given is None or "address" not in given:
        return None
    server_key = make_server_key(key, given)
    _report(_server_key_breaks(server_key), (key, server_key), at(path, "server"), findings)
    return key, server_key


#: Servers of a table that were parsed, by what was written: the same server stands under many services. The bytes of
#: its dict, the default forward and the default port if it needs one; in these bytes, 1 and true are not the same.
Known = dict[Optional[tuple[bytes, str, int]], Server]
_FLAT = frozenset((bool, int, str))
_MARSHAL = 2  # the last version without references: what is written alike gives the same bytes


def parse_entry(
    value: object,
    path: Place,
    findings: Findings,
    known: Optional[Known] = None,
    places: Optional[Sequence[Place]] = None,
) -> Optional[Entry]:
    """A dict with a service and its servers, where what is not given is the default -> :class:`Entry`, or ``None`` with
    the problems in ``findings``. Entries of the same table share what is ``known``; ``places`` are those of the
    servers, if they are not below ``path``.
    """
    return _quiet_entry(value, {} if known is None else known) or _told_entry(value, path, findings, places)


def _quiet_entry(value: object, known: Known) -> Optional[Entry]:
    """The entry that nothing is to be told about, else ``None``. Tables are thousands of these, so this is the same as
    :func:`_told_entry` without what telling takes: paths, places, and the difference between missing and bad.
    """
    given = _good_entry(value)
    if given is None or not isinstance(value, Mapping):
        return None
    findings = Findings()
    key = make_key(given, value, "", findings)
    items = given.get("servers", [])
    if key is None or not isinstance(items, list) or len(items) > MAX_SERVERS:
        return None
    service = make_service(key, given, None, "", findings)
    forward = given.get("forward", DEFAULT_FORWARD)
    servers: dict[ServerKey, Server] = {}
    for item in items:
        server = _quiet_server(item, key, forward, findings, known)
        if server is None:
            return None
        servers[server.key] = server
    _weigh(service, servers, "", findings)
    if findings.problems or findings.warnings or len(servers) != len(items):
        return None
    return Entry(service, servers)


def _quiet_server(item: Any, key: ServiceKey, forward: str, findings: Findings, known: Known) -> Optional[Server]:
    """The server of the service ``key``; ``None`` if more is to be told about it than ``findings`` take."""
    written = None
    # what is nested is bad, and its bytes may fit in no memory
    if isinstance(item, dict) and _FLAT.issuperset(map(type, item.values())):
        try:
            written = marshal.dumps(item, _MARSHAL), forward, 0 if "port" in item else key.port
        except ValueError:  # with other types in it than JSON has
            written = None
    server = known.get(written)
    if server is not None:
        broken = _place_breaks(key, server)
        if broken:
            _report(broken, (key, server.key), "", findings)
        return server
    given = _good_server(item)
    if given is None:
        return None
    server = make_server(key, given, None, forward, "", findings)
    if written and not findings.problems and not findings.warnings:
        known[written] = server
    return server


#: Stands for a key that is bad, so that what does not depend on it is reported as well.
_SOME_KEY = ServiceKey(1, AF_INET, 0, b"", 0)


def check_options(value: object, path: Place, findings: Findings) -> None:
    """Report what is wrong with the options of a service, whose key is bad or missing."""
    given = _values.record(OPTION_FIELDS + LIST_FIELDS, value, path, findings, SERVICE_HINTS)
    if given is not None:
        service = make_service(_SOME_KEY, given, None, path, Findings())
        _report(_option_breaks(service), (_SOME_KEY, None), path, findings)


def _told_entry(
    value: object, path: Place, findings: Findings, places: Optional[Sequence[Place]] = None
) -> Optional[Entry]:
    value = _refuse_inventory_keys(value, path, findings)
    given = _values.record(ENTRY_FIELDS, value, path, findings, SERVICE_HINTS)
    if given is None or not isinstance(value, Mapping):
        return None
    key = make_key(given, value, path, findings)
    items = _values.records(given.get("servers", []), at(path, "servers"), findings, MAX_SERVERS)
    where = [at(path, "servers", i) for i in range(len(items))] if places is None else places
    parsed = [_values.record(SERVER_FIELDS, *one, findings, _SERVER_HINTS) for one in zip(items, where)]
    known = key is not None
    key = key or _SOME_KEY
    judged = _judge(given, value, findings) if known else Findings()
    service = make_service(key, given, None, path, judged)
    if judged is not findings:
        _report(_key_breaks(key) + _option_breaks(service), (key, None), path, findings)
    forward = given.get("forward", DEFAULT_FORWARD)
    of_servers = findings if known and ("forward" in given) == ("forward" in value) else Findings()
    firsts: dict[ServerKey, Place] = {}
    servers: dict[ServerKey, Server] = {}
    for item, one, place in zip(items, parsed, where):
        if one is None or "address" not in one or ("port" in one) != ("port" in item):  # type: ignore[operator]
            continue
        judged = _judge(one, item, of_servers)
        server = make_server(key, one, None, forward, place, judged)
        if judged is not findings:
            _report(_value_breaks(server), (key, server.key), place, findings)
        if server.key in firsts:
            findings.problem(place, f"duplicate of {firsts[server.key]}", server_text(server.key))
        firsts.setdefault(server.key, place)
        servers[server.key] = server
    if not known:
        return None
    _weigh(service, servers, path, findings)
    return Entry(service, servers)


def _judge(given: Mapping[str, Any], written: Any, findings: Findings) -> Findings:
    """Where the rules between options report to: nowhere while an option itself is bad, for the default in its place
    would be blamed.
    """
    return findings if len(given) == len(written) else Findings()


#: What :func:`refuses_when_quiesced` means for the clients.
REFUSES_WHEN_QUIESCED = (
    "a hash scheduler without its fallback flag refuses the new connections that fall on a server with weight 0"
)


def refuses_when_quiesced(service: Service, server: Server) -> bool:
    """Whether clients are refused because ``server`` has weight 0: sh and mh leave it its places in their tables, and
    look for another server only with the fallback flag (ip_vs_sh.c, ip_vs_mh.c: ip_vs_*_get_fallback).
    """
    return server.weight == 0 and service.scheduler in ("sh", "mh") and not service.flags & FLAG_WORDS["mh-fallback"][0]


def _weigh(service: Service, servers: Mapping[ServerKey, Server], path: Place, findings: Findings) -> None:
    """What is legal but probably not meant. Sources: ip_vs_sh.c (ip_vs_sh_reassign), ip_vs_mh.c (ip_vs_mh_reassign)."""
    where = at(path, "servers")
    weights = [server.weight for server in servers.values()]
    total = sum(weights)
    if not servers:
        findings.warning(where, "no servers: connections will be refused")
    elif not total:
        findings.warning(where, "every weight is 0: new connections will be refused")
    unkept = service.flags & FLAG_ONE_PACKET and not service.engine  # sip finds the service of an answer without one
    if unkept and any(server.forward == _NAT for server in servers.values()):
        findings.warning(
            where, "one_packet with forward nat: no connection is kept by which answers could be translated"
        )
    if total and 0 in weights and any(refuses_when_quiesced(service, server) for server in servers.values()):
        findings.warning(where, REFUSES_WHEN_QUIESCED)
    if service.scheduler == "sh" and total > SH_SLOTS:
        findings.warning(
            where, f"scheduler sh has {SH_SLOTS} slots: weights above them in sum starve the last servers", total
        )
    _report(_crowd_breaks(service, servers), (service.key, None), path, findings)


def _crowd_breaks(service: Service, servers: Mapping[ServerKey, Server]) -> list[Broken]:
    """The rules that the servers of a service break together."""
    if service.scheduler == "mh" and len(servers) > MH_SLOTS:
        return [Broken(_CROWD, "servers", f"scheduler mh takes at most {MH_SLOTS} servers", len(servers))]
    return []


class TableParser:
    """Services -> the table that they mean. Every problem of each goes to ``findings``; the table holds the good ones,
    so use it only after :meth:`Findings.raise_problems`. ``path`` is where the list of them is.
    """

    def __init__(self, path: Place, findings: Findings) -> None:
        self.table: Table = {}
        self._path = path
        self._findings = findings
        self._places: dict[ServiceKey, Place] = {}
        self._known: Known = {}
        self._servers = 0
        self._looked_at = 0
        self._inexcusable = 0

    def add(self, value: object, path: Place, servers: Optional[Sequence[Place]] = None) -> bool:
        """Take the service at ``path``, whose servers are at the places ``servers`` if these are not below it. ->
        Whether to go on: not where the services are more than anyone has.
        """
        findings = self._findings
        listed = value.get("servers") if isinstance(value, Mapping) else None
        self._servers += len(listed) if isinstance(listed, (list, tuple)) else 0
        if self._servers > MAX_ALL_SERVERS:
            findings.problem(self._path, f"must have at most {MAX_ALL_SERVERS} servers in all")
            return False
        entry = parse_entry(value, path, findings, self._known, servers)
        if entry is None:
            return self._goes_on()
        key = entry.service.key
        if key not in self.table:
            self.table[key] = entry
            self._places[key] = path
        else:
            what = "duplicate" if self.table[key] == entry else "conflicting duplicate"
            findings.problem(path, f"{what} of {self._places[key]}", key_text(key))
        return self._goes_on()

    def _goes_on(self) -> bool:
        new = self._findings.problems[self._looked_at :]
        self._looked_at += len(new)
        self._inexcusable += sum(one.subject is None for one in new)
        if self._inexcusable < MAX_PROBLEMS:
            return True
        self._findings.problem(self._path, f"breaks rules in {MAX_PROBLEMS} places; the rest is not read")
        return False


def parse_services(value: object, path: Place, findings: Findings) -> Table:
    """The list of services of a table -> the table it means, as :class:`TableParser` does."""
    parser = TableParser(path, findings)
    for i, item in enumerate(_values.records(value, path, findings, MAX_SERVICES)):
        if not parser.add(item, at(path, i)):
            break
    return parser.table
