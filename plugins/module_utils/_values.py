# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Parsers of single values and of records (dicts) of them.
A parser is a callable that takes what the user wrote and returns what the model holds, or raises :class:`BadValue` with
the rule. AnsibleModule's own conversion is too kind for a load balancer's table (it takes ``true`` for 1 and ``"080"``
for 80) and stops at its first error, so every value that matters comes through here.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

from ._errors import BadItems, BadValue, Findings, Place, at, show_key
from ._hints import NO_HINTS, Hints

Parser = Callable[[object], Any]

#: More than any text has that means something here.
MAX_TEXT = 4096
#: More keys than any record has.
MAX_KEYS = 100
#: More than any list within an item of a list needs.
MAX_ITEMS = 10_000

TRUE_WORDS = frozenset(("true", "yes", "on", "1"))
FALSE_WORDS = frozenset(("false", "no", "off", "0"))

_DECIMAL = re.compile(r"(0|-?[1-9][0-9]{0,40})\Z", re.ASCII)
_MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291
_AS_IPV4 = "must be written as an IPv4 address"
_DOTTED = re.compile(r"[0-9]+(\.[0-9]+)*\Z", re.ASCII)
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}\Z", re.ASCII)
_MODULE = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z", re.ASCII)  # ip_vs.h: IP_VS_SCHEDNAME_MAXLEN, IP_VS_PENAME_MAXLEN
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}\Z", re.ASCII)


def text(value: object) -> str:
    """A non-empty, printable string without surrounding blanks."""
    if not isinstance(value, str):
        raise BadValue("must be a string")
    if not value:
        raise BadValue("must not be empty")
    if len(value) > MAX_TEXT:
        raise BadValue(f"must have at most {MAX_TEXT} characters (has {len(value)})")
    if not value.isprintable():
        offset = next(i for i, character in enumerate(value) if not character.isprintable())
        raise BadValue(f"invalid character at offset {offset}")
    _refuse_template(value)
    if value != value.strip():
        raise BadValue("must not begin or end with a blank")
    return value


def _refuse_template(value: object) -> None:
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        raise BadValue("looks like an unrendered template")


def integer(low: int, high: int, held: Optional[int] = None) -> Parser:
    """A decimal integer in ``low..high``, as a number or as text (templates give text); never a boolean, a float, hex
    or octal. Up to ``held`` it is taken as well, for a kernel can hold it, and judged later.
    """
    most = high if held is None else held

    def parse(value: object) -> int:
        if isinstance(value, int) and value is not True and value is not False and low <= value <= most:
            return value
        if isinstance(value, str):
            number = int(text(value)) if _DECIMAL.match(text(value)) else None
        else:
            number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if number is None:
            raise BadValue(f"must be a decimal integer {low}..{high}")
        if not low <= number <= most:
            raise BadValue(f"must be an integer {low}..{high}")
        return number

    return parse


def boolean(value: object) -> bool:
    """``true`` or ``false``, or the words Ansible takes for them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) or value in (0, 1):
        word = str(value).lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
    _refuse_template(value)
    raise BadValue("must be true or false")


def choice(*words: str, what: str = "must be one of") -> Parser:
    """One of ``words``, as written."""

    def parse(value: object) -> str:
        if value not in words:
            _refuse_template(value)
            raise BadValue(f"{what} {', '.join(words)}")
        return str(value)

    return parse


def number_of(words: Mapping[str, int], most: int) -> Parser:
    """One of ``words``, or a number up to ``most`` that has no word -> the number."""
    numbers = integer(0, most)

    def parse(value: object) -> int:
        if isinstance(value, str) and value in words:
            return words[value]
        try:
            number = int(numbers(value))
        except BadValue:
            number = -1
        if number < 0 or number in words.values():
            _refuse_template(value)
            raise BadValue(f"must be one of {', '.join(words)}")
        return number

    return parse


def name_of(*words: str, what: str = "must be one of") -> Parser:
    """One of ``words``, or what may be the name of another module of the kernel."""

    def parse(value: object) -> str:
        if value not in words:
            _refuse_template(value)
            if not isinstance(value, str) or not _MODULE.match(value):
                raise BadValue(f"{what} {', '.join(words)}")
        return str(value)

    return parse


def words_of(*words: str, unlisted: Sequence[str] = ()) -> Parser:
    """A list without repetition of some of ``words`` -> tuple in the order of ``words``. The ``unlisted`` ones are
    understood and not offered.
    """
    one = choice(*words)
    known = (*words, *unlisted)

    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise BadValue(f"must be a list of {', '.join(words)}")
        chosen = [item if item in unlisted else one(item) for item in value]
        if len(set(chosen)) != len(chosen):
            raise BadValue("must not name a thing twice")
        return tuple(word for word in known if word in chosen)

    return parse


def list_of(one: Parser) -> Parser:
    """A list of values that ``one`` parses -> tuple. Every bad item is told."""

    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise BadValue("must be a list")
        if len(value) > MAX_ITEMS:
            raise BadValue(f"must have at most {MAX_ITEMS} items (has {len(value)})")
        items: list[Any] = []
        bad: list[tuple[int, BadValue, object]] = []
        for i, item in enumerate(value):
            try:
                items.append(one(item))
            except BadValue as error:
                bad.append((i, error, item))
        if bad:
            raise BadItems(bad)
        return tuple(items)

    return parse


def any_address(value: object) -> bytes:
    """An IPv4 or IPv6 address -> its 4 or 16 bytes in network order. Nothing is resolved by name service."""
    if isinstance(value, str):
        try:
            return socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)
        except (OSError, ValueError):
            raise BadValue(_why_no_address(text(value))) from None
    raise BadValue("must be a string")


def address(value: object) -> bytes:
    """An address as :func:`any_address`, but none of IPv4 in the form of IPv6."""
    packed = any_address(value)
    if packed[:12] == _MAPPED:
        raise BadValue(_AS_IPV4)
    return packed


def _why_no_address(written: str) -> str:
    if "/" in written:
        return "must be an IP address without a prefix length"
    if "%" in written:
        return "must be an IP address without a zone id"
    if ":" in written:
        return "must be an IPv6 address"
    if not _DOTTED.match(written):
        return "must be an IP address; host names are not resolved"
    if re.search(r"(^|\.)0[0-9]", written):
        return "must be an IPv4 address without leading zeros, which are ambiguous"
    return "must be an IPv4 address of four numbers 0..255"


def unicast(value: object) -> bytes:
    """An address that one machine can own: not unspecified, multicast, broadcast, reserved or link-local (RFC 1122, RFC
    4291).
    """
    packed = any_address(value)
    rule = why_not_unicast(packed)
    if rule:
        raise BadValue(rule)
    return packed


def why_not_unicast(packed: bytes) -> str:
    """The rule of :func:`unicast` that the packed address breaks, or ""."""
    if len(packed) == 4 and 0 < packed[0] < 224:
        return ""
    if packed[:12] == _MAPPED:
        return _AS_IPV4
    if not any(packed):
        return "must not be the unspecified address"
    if (len(packed) == 4 and packed[0] >= 224) or (len(packed) == 16 and packed[0] == 0xFF):
        return "must be a unicast address"
    if len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return "must not be a link-local address"
    return ""


def is_loopback(packed: bytes) -> bool:
    """Whether the packed address is of 127.0.0.0/8 or ::1."""
    return packed[0] == 127 if len(packed) == 4 else packed == b"\0" * 15 + b"\1"


def show_address(packed: bytes) -> str:
    """The canonical text of a packed address (RFC 5952 for IPv6)."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def interface(value: object) -> str:
    """A network interface name: 1..15 characters (IFNAMSIZ), none that a shell, a path or nft would take for its
    own.
    """
    name = text(value)
    if not _INTERFACE.match(name) or name in (".", "..") or name.startswith("-"):
        raise BadValue("must be an interface name of 1..15 letters, digits, '_', '.', ':', '@' or '-'")
    return name


class Field(NamedTuple):
    """One key of a record."""

    name: str
    parse: Parser
    required: bool = False


def mac(value: object) -> str:
    """The hardware address of one Ethernet device, as nft shows it."""
    address = text(value).lower()
    if not _MAC.match(address):
        raise BadValue("must be a hardware address of six pairs of hexadecimal digits with colons between them")
    if int(address[:2], 16) & 1 or not address.strip("0:"):
        raise BadValue("must be the hardware address of one device")
    return address


def has_few_keys(value: Mapping[Any, Any], path: Place, findings: Findings, most: int = MAX_KEYS) -> bool:
    """Whether a dict has no more keys than any good one; more are one problem, not one each."""
    if len(value) > most:
        findings.problem(path, f"must have at most {most} keys (has {len(value)})")
    return len(value) <= most


def record(
    fields: Sequence[Field], value: object, path: Place, findings: Findings, hints: Hints = NO_HINTS
) -> Optional[dict[str, Any]]:
    """Parse a dict by its ``fields``; every problem goes to ``findings`` under ``path``. Returns the parsed keys
    that were given and good (not given is absent from the result, never a default), or ``None`` if ``value`` is
    no dict at all. ``hints`` are for keys that are not known.
    """
    if not isinstance(value, Mapping):
        findings.problem(path, "must be a dict", value)
        return None
    if not has_few_keys(value, path, findings, max(MAX_KEYS, len(fields))):
        return None
    parsers = {field.name: field.parse for field in fields}
    parsed: dict[str, Any] = {}
    for name, given in value.items():
        if name not in parsers:
            # looking for what is alike takes time
            hint = "" if findings.full else f"; {hints.of(name, parsers)}"
            findings.problem(at(path, show_key(name)), f"unknown key{hint}")
        elif given is None or given == "":
            findings.problem(at(path, name), "must not be empty")
        else:
            try:
                parsed[name] = parsers[name](given)
            except BadValue as error:
                findings.refused(at(path, name), error, given)
    for field in fields:
        if field.required and field.name not in value:
            findings.problem(at(path, field.name), "is required")
    return parsed


def good_record(fields: Sequence[Field]) -> Callable[[object], Optional[dict[str, Any]]]:
    """A parser of the records that :func:`record` finds nothing wrong with; any other gives ``None``, for it to tell
    why. Tables are thousands of good records of the same fields: for them this costs a third.
    """
    parsers = {field.name: field.parse for field in fields}
    required = {field.name for field in fields if field.required}

    def parse(value: object) -> Optional[dict[str, Any]]:
        if not isinstance(value, dict) or not required <= value.keys():
            return None
        try:
            return {name: parsers[name](given) for name, given in value.items()}
        except (KeyError, BadValue):
            return None

    return parse


def records(value: object, path: Place, findings: Findings, limit: int) -> Sequence[object]:
    """The items of a list option; anything but a list, or more than ``limit`` items, is a problem and gives no
    items.
    """
    if not isinstance(value, (list, tuple)):
        findings.problem(path, "must be a list", value)
        return ()
    if len(value) > limit:
        findings.problem(path, f"must have at most {limit} items (has {len(value)})")
        return ()
    return value


def given(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The options among ``names`` that the task sets: AnsibleModule fills the others with ``None``."""
    return {name: params[name] for name in names if params[name] is not None}


#: The option of modules that can leave what a listed thing was before, for whoever still relies on it.
KEEP_FORMER: dict[str, Any] = {"keep_former": {"type": "bool", "default": False}}


def refuse_with_absent(params: Mapping[str, Any], options: Mapping[str, Any], findings: Findings) -> None:
    """Report each of ``options``, of AnsibleModule's spec, that a task with state absent sets: all are about what is to
    be there.
    """
    for name, spec in options.items():
        if params["state"] == "absent" and params[name] != spec.get("default"):
            findings.problem(name, "means nothing with state absent", params[name])


def purge_interfaces(value: object, purge: bool, findings: Findings) -> Optional[frozenset[str]]:
    """The interfaces that a purge looks at, from the option of this name; None: all."""
    if value is None:
        return None
    if not purge:
        findings.problem("purge_interfaces", "means nothing without purge owned", value)
    try:
        return frozenset(list_of(interface)(value))
    except BadValue as error:
        findings.refused("purge_interfaces", error, value)
        return None
