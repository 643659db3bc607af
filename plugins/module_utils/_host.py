# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""One reading of a host that is to be a director or a backend: what it has, and what else on it has a say in balanced
traffic. Read only.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import _nft
from ._errors import IpvsError
from ._files import content, opened
from ._kernel import ipv6_disabled
from ._management import management_connection
from ._model import PROTOCOLS
from ._module import Task
from ._owners import owners
from ._rtnl import PROTOCOL
from ._ruleset import OWN_TABLES, read_firewall, read_iptables, read_source_nat
from ._sysctl_files import boot_options, boot_value, dropins, in_order, proc_path

ROOT = "/"
SYS_MODULE = "/sys/module"
LIB_MODULES = "/lib/modules"
PROC = "/proc"
ETC = "/etc"

#: The kernel modules of load balancing: IPVS and its schedulers, connection tracking, NAT by nftables, tunnels
#: and dummy devices.
MODULES = re.compile(
    r"(ip_vs(_\w+)?|nf_conntrack|nf_tables|nft_(chain_nat|ct|masq|nat)|ipip|ip6_tunnel|ip6?_gre|fou6?|sit|dummy)\Z"
)
COMMANDS = ("ipvsadm", "nft", "conntrack")
LIBRARIES = ("pyroute2",)
#: Files by which the roles of this collection set the next boot.
OWN_FILES = ("sysctl.d/*l4lb-ipvs*.conf", "modules-load.d/l4lb-ipvs*.conf")
#: Of the command ip.
FAMILY_OPTIONS = {"ipv4": "-4", "ipv6": "-6"}
#: What ip says for a protocol where the host has no /etc/protocols (inet_proto_n2a, lib/inet_proto.c of iproute2).
PROTOCOL_WORDS = {f"ipproto-{number}": name for name, number in PROTOCOLS.items()}
#: The ways of forwarding as /proc/net/ip_vs names them (ip_vs_fwd_name, net/netfilter/ipvs/ip_vs_ctl.c).
FORWARD_WORDS = {"Masq": "nat", "Tunnel": "tun", "Route": "dr"}
#: Sysctls of interfaces that decide who answers for an address, who is believed, and where routes come from.
SETTINGS = {"ipv4": ("arp_ignore", "arp_announce", "rp_filter"), "ipv6": ("accept_ra",)}
#: Whether IPVS keeps entries of connection tracking; not there before the module is loaded.
TRACKING = "net.ipv4.vs.conntrack"
#: Of these, what no interface's own value makes up for, so that a file that sets it has to be known.
BOOT_SETTINGS = ("net.ipv4.conf.all.rp_filter",)


def host_info(task: Task) -> dict[str, Any]:
    """The body of ``ipvs_host_info``.

    :raises IpvsError: ``ip`` or ``nft`` failed.
    """
    modules = kernel_modules()
    # asking would load nf_tables
    readable = modules.get("nf_tables") == "loaded" and shutil.which("nft")
    tables, listing = _ruleset(task) if readable else (set(), {})
    families = {family: option for family, option in FAMILY_OPTIONS.items() if family == "ipv4" or not ipv6_disabled()}
    return {
        "changed": False,
        "modules": modules,
        "tools": {
            **{name: bool(shutil.which(name)) for name in COMMANDS},
            **{name: importlib.util.find_spec(name) is not None for name in LIBRARIES},
        },
        "interfaces": read_addresses(_json(task, ["ip", "-j", "-d", "address"])),
        "gateways": [
            gateway
            for family, option in families.items()
            for gateway in read_gateways(family, _json(task, ["ip", "-j", option, "route", "show", "default"]))
        ],
        "rules": [
            read_rule(family, rule)
            for family, option in families.items()
            for rule in _json(task, ["ip", "-j", option, "rule", "show"])
            if rule.get("protocol") == str(PROTOCOL)
        ],
        "routes": [
            read_route(family, route)
            for family, option in families.items()
            for route in _json(task, ["ip", "-j", option, "route", "show", "table", "all", "proto", str(PROTOCOL)])
        ],
        "tables": sorted(name for name in tables if name.startswith(OWN_TABLES)),
        "sysctls": settings(),
        "boot": boot_settings(),
        "files": [path for name in OWN_FILES for path in sorted(glob.glob(os.path.join(ETC, name)))],
        "firewall": read_firewall(listing) + _legacy_firewall(task),
        "source_nat": read_source_nat(listing),
        "owners": owners(),
        "forwards": live_forwards(),
        "connection": management_connection(),
    }


def _json(task: Task, argv: list[str]) -> Any:
    status, output, error = task.run(argv)
    if status:
        raise IpvsError(f"{' '.join(argv)} failed: {error.strip() or status}")
    return json.loads(output or "{}")


def _ruleset(task: Task) -> tuple[set[str], dict[str, Any]]:
    """The names of all tables, and what ``nft -j list ruleset`` lists without those that are dormant: their chains are
    on no hook. nft 1.0.6 may print broken JSON where there is one; then each table is listed by itself.
    """
    try:
        items = _json(task, ["nft", "-j", "list", "ruleset"]).get("nftables", [])
        names = {item["table"]["name"] for item in items if "table" in item}
    except ValueError:
        items = []
        present = sorted(_nft.tables(task))
        names = {table.name for table in present}
        for table in present:
            with contextlib.suppress(ValueError):
                items += _json(task, ["nft", "-j", "list", "table", *table])["nftables"]
    dormant = {
        (item["table"]["family"], item["table"]["name"])
        for item in items
        if "table" in item and _is_dormant(item["table"])
    }
    awake = [
        item
        for item in items
        if not any((part.get("family"), part.get("table", part.get("name"))) in dormant for part in item.values())
    ]
    return names, {"nftables": awake}


def _is_dormant(table: Mapping[str, Any]) -> bool:
    """Whether a table has a flag that is none of the others: nft 1.0.6 prints memory that it has freed for the word.
    A single flag is text from nft 1.1.1 on.
    """
    flags = table.get("flags", [])
    return not {"owner", "persist"}.issuperset([flags] if isinstance(flags, str) else flags)


def kernel_modules() -> dict[str, str]:
    """``loaded`` (or built in) or ``loadable``, by the name of each module of interest that this kernel has."""
    directory = os.path.join(LIB_MODULES, os.uname().release)
    found: dict[str, str] = {}
    for index, state in (("modules.dep", "loadable"), ("modules.builtin", "loaded")):
        for line in _lines(os.path.join(directory, index)):
            name = os.path.basename(line.split(":", 1)[0].strip()).split(".ko", 1)[0].replace("-", "_")
            if MODULES.match(name):
                found[name] = state
    # a module built in, or one loaded in a container, is only here
    found.update({name: "loaded" for name in _listed(SYS_MODULE) if MODULES.match(name)})
    return dict(sorted(found.items()))


def _lines(path: str) -> Iterator[str]:
    try:
        with opened(path, errors="replace") as lines:
            yield from lines
    except OSError:
        return


def _listed(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def read_addresses(links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``ip -j -d address`` -> name, kind, alias, MTU and addresses (address, prefix, quiet) of each interface;
    link-local addresses left out.
    """
    return [
        {
            "name": link["ifname"],
            "kind": link.get("linkinfo", {}).get("info_kind", ""),
            "alias": link.get("ifalias", ""),
            "mtu": link.get("mtu", 0),
            "addresses": [
                {
                    "address": info["local"],
                    "prefix": info["prefixlen"],
                    "quiet": info.get("scope") == "host" or info.get("nodad", False),
                }
                for info in link.get("addr_info", [])
                if info.get("scope") != "link" and "local" in info
            ],
        }
        for link in links
        if "ifname" in link
    ]


def read_gateways(family: str, routes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``ip -j route show default`` -> the next hops of the default routes of one family."""
    return [
        {
            "family": family,
            "address": hop.get("gateway") or hop.get("via", {}).get("host"),
            "interface": hop.get("dev", ""),
            "protocol": route.get("protocol", ""),
        }
        for route in routes
        for hop in route.get("nexthops", [route])
    ]


def read_rule(family: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """One rule of ``ip -j rule show``; what it does not ask for is 0 or empty."""
    prefix = f"/{rule['srclen']}" if "srclen" in rule else ""
    return {
        "family": family,
        "priority": rule["priority"],
        "table": str(rule.get("table", "")),
        "from": "" if rule["src"] == "all" else rule["src"] + prefix,
        "ip_protocol": PROTOCOL_WORDS.get(rule.get("ipproto", ""), rule.get("ipproto", "")),
        "source_port": rule.get("sport", 0),
        "fwmark": int(rule.get("fwmark", "0"), 0),
    }


def read_route(family: str, route: Mapping[str, Any]) -> dict[str, Any]:
    """One route of ``ip -j route show table all``."""
    return {
        "family": family,
        "table": str(route.get("table", "main")),
        "to": route["dst"],
        "type": route.get("type", "unicast"),
        "via": route.get("gateway", ""),
    }


def live_forwards() -> list[str]:
    """The ways in which the servers of the IPVS table are reached, sorted."""
    # of a server: -> address, way, weight, connections
    words = {line.split()[2] for line in _lines(os.path.join(PROC, "net/ip_vs")) if line.startswith("  -> ")}
    return sorted(FORWARD_WORDS[word] for word in words & FORWARD_WORDS.keys())


def settings() -> dict[str, int]:
    """The running values of :data:`SETTINGS`, as ``net.ipv4.conf.eth0.rp_filter`` (a dot in an interface's name is
    written as a slash, sysctl.d(5)), and of :data:`TRACKING`.
    """
    found = {}
    tracking = content(os.path.join(PROC, "sys", proc_path(TRACKING))).strip()
    if tracking:
        found[TRACKING] = int(tracking)
    for family, names in SETTINGS.items():
        directory = os.path.join(PROC, "sys/net", family, "conf")
        for interface in _listed(directory):
            for name in names:
                value = content(os.path.join(directory, interface, name)).strip()
                if value:
                    found[f"net.{family}.conf.{interface.replace('.', '/')}.{name}"] = int(value)
    return found


def boot_settings() -> dict[str, dict[str, str]]:
    """What files make of :data:`BOOT_SETTINGS` at boot: value and file; a key that none sets is not there."""
    options = boot_options(in_order(dropins(ROOT)))
    found = {key: boot_value(options, proc_path(key)) for key in BOOT_SETTINGS}
    return {key: {"value": told[0], "file": f"/{told[1]}"} for key, told in found.items() if told and told[0]}


def _legacy_firewall(task: Task) -> list[dict[str, Any]]:
    """The filters of the iptables that is not nft. Its tables are loaded by asking, so ask only then."""
    found: list[dict[str, Any]] = []
    for family, names, command in (
        ("ip", "net/ip_tables_names", "iptables-legacy"),
        ("ip6", "net/ip6_tables_names", "ip6tables-legacy"),
    ):
        if "filter" in content(os.path.join(PROC, names)).split() and shutil.which(command):
            status, output, dummy = task.run([command, "-S"])
            found += [] if status else read_iptables(family, output)
    return found
