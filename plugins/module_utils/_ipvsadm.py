# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The commands that ``ipvsadm -Sn`` prints and ``ipvsadm -R`` takes, as the list of services of ipvs_table. Pure.

Only the translation of options is here, and what they forget; what the values mean, and whether they are right, is the
model's. Where ipvsadm would make something else of a line (``config_stream_read``, ``parse_options``, ``parse_service``
and ``parse_netmask`` of ipvsadm 1.31) than the model makes of its values, the line is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from functools import cache
from typing import Any, Optional

from . import _values
from ._errors import BadValue, Findings, show_key
from ._model import Server, key_text, server_text
from ._plan import Operation

_PROTOCOLS = {
    "-t": "tcp",
    "--tcp-service": "tcp",
    "-u": "udp",
    "--udp-service": "udp",
    "--sctp-service": "sctp",
}
_MARKS = ("-f", "--fwmark-service")
_SERVERS = ("-r", "--real-server")
#: Options without a value: a key, and what they say of it.
_WORDS = {
    "-6": ("family", "ipv6"),
    "--ipv6": ("family", "ipv6"),
    "-o": ("one_packet", True),
    "--ops": ("one_packet", True),
    "-m": ("forward", "nat"),
    "--masquerading": ("forward", "nat"),
    "-i": ("forward", "tun"),
    "--ipip": ("forward", "tun"),
    "-g": ("forward", "dr"),
    "--gatewaying": ("forward", "dr"),
    "--tun-nocsum": ("tunnel_checksum", "none"),
    "--tun-csum": ("tunnel_checksum", "csum"),
    "--tun-remcsum": ("tunnel_checksum", "remcsum"),
}
#: Options that take a value, and the key it goes to.
_VALUES = {
    "-s": "scheduler",
    "--scheduler": "scheduler",
    "-p": "persistence_timeout",
    "--persistent": "persistence_timeout",
    "-M": "persistence_netmask",
    "--netmask": "persistence_netmask",
    "--pe": "persistence_engine",
    "-b": "scheduler_flags",
    "--sched-flags": "scheduler_flags",
    "-w": "weight",
    "--weight": "weight",
    "-x": "upper_threshold",
    "--u-threshold": "upper_threshold",
    "-y": "lower_threshold",
    "--l-threshold": "lower_threshold",
    "--tun-type": "tunnel_type",
    "--tun-port": "tunnel_port",
}
_OF_SERVER = {
    "forward",
    "weight",
    "upper_threshold",
    "lower_threshold",
    "tunnel_type",
    "tunnel_port",
    "tunnel_checksum",
}
#: What each option is about. A line may have one about the same thing, as ipvsadm has it (its set_option()).
_SUBJECTS = {
    **dict.fromkeys((*_PROTOCOLS, *_MARKS), "service"),
    **dict.fromkeys(_SERVERS, "server"),
    **{option: key for option, (key, dummy) in _WORDS.items()},
    **_VALUES,
}
_ADD_SERVICE = ("-A", "--add-service")
_ADD_SERVER = ("-a", "--add-server")
_KEY = ("fwmark", "family", "protocol", "address", "port")
#: Commands of other kinds, and what to do without them.
_OTHER_COMMANDS = {
    **dict.fromkeys(("-C", "--clear"), "leave it out; purge decides what becomes of services that are not listed"),
    **dict.fromkeys(("-E", "--edit-service", "-e", "--edit-server"), "leave it out; -A and -a give the final values"),
    **dict.fromkeys(("-D", "--delete-service", "-d", "--delete-server"), "leave it and what it removes out"),
}
#: ipvsadm's own when -p has no value.
_DEFAULT_PERSISTENCE = 360
_ENDPOINT = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:\[\]]*))(?::(?P<port>.*))?\Z")
_DOTTED_MASK = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}\Z", re.ASCII)
_PROGRAM = re.compile(r"(\S*/)?ipvsadm\Z")
#: Within a word it is one of its characters.
_COMMENT = re.compile(r"(^|[ \t\r])#.*")
#: What a shell takes otherwise than str.split(): quotes, and characters that are no blanks to a shell.
_SHELL = re.compile("[\"'\\\\\x0b-\x1f\x80-\U0010ffff]")


class _Bad(Exception):
    pass


def parse(text: str, path: str, findings: Findings) -> list[dict[str, Any]]:
    """Lines of ``-A`` and ``-a`` -> services in input keys, in the order of the lines; problems name the line.

    Blank lines and comments (``#``) are passed over. A server's service must stand before it. A last line without its
    newline is refused: of a file cut off it may name another server than was meant, and be right.
    """
    services: dict[tuple[Any, ...], dict[str, Any]] = {}
    *lines, rest = text.split("\n")
    for number, line in enumerate(lines, 1):
        try:
            words = _words(line)
            if words:
                _command(words, services)
        except (_Bad, ValueError) as error:
            findings.problem(f"{path} line {number}", str(error), line)
    if rest.strip():
        findings.problem(f"{path} line {len(lines) + 1}", "the last line is cut off: no newline at its end", rest)
    return list(services.values())


def forgotten(operations: Iterable[Operation]) -> Optional[str]:
    """A warning of the thresholds that go to 0 because ``ipvsadm -Sn`` does not print them; None where none does."""
    found = [
        f"{key_text(one.key)} -r {server_text(one.after.key)}"
        for one in operations
        if isinstance(one.before, Server)
        and isinstance(one.after, Server)
        and (one.before.upper > one.after.upper == 0 or one.before.lower > one.after.lower == 0)
    ]
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"src: ipvsadm -Sn prints no thresholds: those of {found[0]}{more} go to 0"


def _words(line: str) -> list[str]:
    """The words of a line as a shell has them, without the name of the program that ipvsadm skips too."""
    line = _COMMENT.sub("", line) if "#" in line else line
    # nearly every line has nothing that a shell would look for, and looking takes ten times as long
    words = shlex.split(line) if _SHELL.search(line) else line.split()
    return words[1:] if words and _PROGRAM.match(words[0]) else words


def _command(words: list[str], services: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    if words[0] not in _ADD_SERVICE + _ADD_SERVER:
        what = _OTHER_COMMANDS.get(words[0])
        raise _Bad("must begin with -A or -a" + (f": {what}" if what else ""))
    service: dict[str, Any] = {}
    server: dict[str, Any] = {}
    given: dict[str, str] = {}
    rest = words[:0:-1]
    while rest:
        option = rest.pop()
        subject = _SUBJECTS.get(option)
        if subject is None:
            raise _Bad(f"unknown option {show_key(option)}")
        if subject in given:
            raise _Bad(f"has both {given[subject]} and {option}, where one is allowed")
        given[subject] = option
        record = server if subject in _OF_SERVER else service
        if subject == "family" and "fwmark" not in service:
            raise _Bad(f"{option} must stand after -f")
        if subject == "family" and "persistence_netmask" in given:
            raise _Bad(f"{option} must stand before {given['persistence_netmask']}, or it sets the mask too")
        if option in _WORDS:
            record[subject] = _WORDS[option][1]
        elif option in _PROTOCOLS:
            address, port = _endpoint(_value(option, rest))
            service.update(protocol=_PROTOCOLS[option], address=address, port=port if port is not None else "0")
        elif option in _SERVERS:
            address, server_port = _endpoint(_value(option, rest))
            server["address"] = address
            if server_port is not None:
                server["port"] = server_port
            elif "service" not in given:
                raise _Bad(f"{option} without a port must stand after the service")
        elif option in _MARKS:
            service.update(fwmark=_value(option, rest), family="ipv4")
        elif subject == "persistence_timeout":
            bare = not rest or rest[-1].startswith("-")
            service[subject] = _DEFAULT_PERSISTENCE if bare else rest.pop()
            if service[subject] == "0":
                raise _Bad(f"{option} 0 is nothing that ipvsadm takes: leave it out for a service without persistence")
        elif subject == "persistence_netmask":
            service[subject] = _netmask(option, _value(option, rest), service)
        elif subject == "scheduler_flags":
            service[subject] = _value(option, rest).split(",")
        else:
            record[subject] = _value(option, rest)
    key = _key(service)
    if words[0] in _ADD_SERVICE:
        if server:
            raise _Bad("has options of a server")
        if key in services:
            raise _Bad("names a service a second time")
        services[key] = {**service, "servers": []}
    elif service.keys() - set(_KEY):
        raise _Bad("has options of a service")
    elif key not in services:
        raise _Bad("its service does not stand before it")
    else:
        services[key]["servers"].append(server)


def _netmask(option: str, written: str, service: dict[str, Any]) -> str:
    """The mask of ``-M``. ipvsadm parses it as an IPv4 address, where 24 is 0.0.0.24, unless it knows by then that the
    service is of IPv6.
    """
    if service.get("family") == "ipv6" or ":" in service.get("address", ""):
        return written
    if "address" not in service and "fwmark" not in service:
        raise _Bad(f"{option} must stand after the service, whose family says what it means")
    if not _DOTTED_MASK.match(written):
        raise _Bad(f"{option} of an IPv4 service must be a dotted mask: for another one ipvsadm makes a wrong one")
    return written


def _key(service: dict[str, Any]) -> tuple[Any, ...]:
    """What names the service, however its address is spelt."""
    *names, address, port = map(service.get, _KEY)
    return (*names, _packed(address) if address is not None else None, port)


@cache
def _packed(written: str) -> object:
    try:
        return _values.address(written)
    except BadValue:
        return written  # the model's to refuse


def _value(option: str, rest: list[str]) -> str:
    if not rest:
        raise _Bad(f"{option} needs a value")
    return rest.pop()


@cache
def _endpoint(written: str) -> tuple[str, Optional[str]]:
    match = _ENDPOINT.match(written)
    if not match:
        raise _Bad(f"not an address with a port: {show_key(written)}")
    if match["v6"] is None:
        return match["v4"], match["port"]
    if ":" not in match["v6"]:
        raise _Bad(f"brackets are for an IPv6 address: {show_key(written)}")
    if match["port"] is None:
        raise _Bad(f"an IPv6 address needs a port here: {show_key(written)}")
    return match["v6"], match["port"]
