# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a topology: the nodes of a lab, their segments and addresses, and what the inventory says of them.

For example::

    segments: [outside, inside]
    groups:
      ipvs_directors: [director1]
      lab_clients: [client]         # where there are some, the other machines give way to theirs
    nodes:
      director1:
        interfaces:
          outside: [203.0.113.1/24, "2001:db8:0:1::1/64"]   # the first segment is eth1, the next one eth2 ...
          inside: [192.0.2.1/24]
        sysctls: {net.ipv4.ip_forward: 1}
      backend1:
        interfaces:
          inside: [192.0.2.11/24]
        gateway: 192.0.2.1            # or a list, one of each family
        routes: [{to: 198.51.100.0/24, via: 192.0.2.1}]
        serve: {tcp: [80], udp: [53]} # ports where l4lb-serve answers
        vars: {ipvs_address: 192.0.2.11}
        memory: 1024                  # MiB; such a node cannot come from the snapshot, it boots
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import yaml

from .common import LAB_NICS, LabError

Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# names become host names, parts of socket paths and words of commands
NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
NAME_RULE = "1 to 15 characters a-z, 0-9 and -, starting with a letter"
GROUP = re.compile(r"[a-z_][a-z0-9_]*")
SYSCTL = re.compile(r"[a-zA-Z0-9_./-]+")
LEAST_MEMORY, MOST_MEMORY = 128, 16384  # MiB
RESERVED_GROUPS = ("all", "ungrouped")
CLIENTS = "lab_clients"
NODE_KEYS = ("interfaces", "gateway", "routes", "sysctls", "serve", "vars", "memory")


@dataclass(frozen=True)
class Route:
    """A route of a node beyond its own networks."""

    to: Network
    via: Address


@dataclass(frozen=True)
class Node:
    """One machine."""

    name: str
    number: int  # from 1, in the order of the file
    interfaces: Mapping[str, tuple[Interface, ...]]  # by segment, in the order of eth1, eth2 ...
    routes: tuple[Route, ...]
    sysctls: Mapping[str, str]
    serve: tuple[tuple[str, int], ...]  # protocol and port
    variables: Mapping[str, Any]
    memory: int | None  # MiB, None for what every node has

    def device(self, segment: str) -> str:
        """The name of the node's network device on *segment*."""
        return f"eth{list(self.interfaces).index(segment) + 1}"

    def mac(self, nic: int) -> str:
        """The hardware address of the node's network card *nic* (1 is eth1)."""
        return f"52:54:00:4c:{nic:02x}:{self.number:02x}"


@dataclass(frozen=True)
class Topology:
    """A validated topology."""

    segments: tuple[str, ...]
    nodes: Mapping[str, Node]
    groups: Mapping[str, tuple[str, ...]]

    def gives_way(self, node: Node) -> bool:
        """Whether the node's machine is to give way to those of clients, lest a load be begun late."""
        clients = self.groups.get(CLIENTS, ())
        return bool(clients) and node.name not in clients


class _Reader:
    """Collects every problem of one document, each with the path of its value."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def bad(self, path: str, rule: str) -> None:
        self.problems.append(f"{path}: {rule}")

    def mapping(self, value: object, path: str, keys: tuple[str, ...] = ()) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.bad(path, f"must be a mapping (got {value!r})")
            return {}
        known = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.bad(path, f"keys must be strings (got {key!r})")
            elif keys and key not in keys:
                self.bad(f"{path}.{key}" if path else key, f"no such key (known: {', '.join(keys)})")
            else:
                known[key] = item
        return known

    def sequence(self, value: object, path: str) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self.bad(path, f"must be a list (got {value!r})")
        return []

    def name(self, value: object, path: str) -> str:
        if isinstance(value, str) and NAME.fullmatch(value):
            return value
        self.bad(path, f"must be {NAME_RULE} (got {value!r})")
        return ""

    def interface(self, value: object, path: str) -> Interface | None:
        try:
            if isinstance(value, str) and "/" in value:
                return ipaddress.ip_interface(value)
        except ValueError:
            pass
        self.bad(path, f"must be an address with its prefix length, such as 192.0.2.1/24 (got {value!r})")
        return None

    def address(self, value: object, path: str) -> Address | None:
        try:
            if isinstance(value, str):
                return ipaddress.ip_address(value)
        except ValueError:
            pass
        self.bad(path, f"must be an address (got {value!r})")
        return None

    def network(self, value: object, path: str) -> Network | None:
        try:
            if isinstance(value, str):
                return ipaddress.ip_network(value)
        except ValueError:
            pass
        self.bad(path, f"must be a network without host bits, such as 192.0.2.0/24 (got {value!r})")
        return None

    # -- the parts of a node ------------------------------------------------------------------------------------

    def interfaces(self, value: object, path: str, segments: tuple[str, ...]) -> dict[str, tuple[Interface, ...]]:
        interfaces = {}
        for segment, addresses in self.mapping(value, path).items():
            here = f"{path}.{segment}"
            if segment not in segments:
                self.bad(here, f"no such segment (known: {', '.join(segments)})")
            items = enumerate(self.sequence(addresses, here))
            read = [self.interface(item, f"{here}[{index}]") for index, item in items]
            interfaces[segment] = tuple(item for item in read if item)
        if len(interfaces) > LAB_NICS:
            self.bad(path, f"a node has at most {LAB_NICS} segments (got {len(interfaces)})")
        return interfaces

    def routes(self, node: Mapping[str, Any], path: str, networks: Sequence[Network]) -> list[Route]:
        wanted: list[tuple[str, Network | None, Address | None]] = []
        for index, item in enumerate(self.sequence(node.get("routes"), f"{path}.routes")):
            here = f"{path}.routes[{index}]"
            route = self.mapping(item, here, ("to", "via"))
            to, via = self.network(route.get("to"), f"{here}.to"), self.address(route.get("via"), f"{here}.via")
            wanted.append((here, to, via))
        gateways = node.get("gateway")
        for gateway in gateways if isinstance(gateways, list) else [gateways] if gateways is not None else []:
            via = self.address(gateway, f"{path}.gateway")
            default = ipaddress.ip_network("::/0" if via and via.version == 6 else "0.0.0.0/0")
            wanted.append((f"{path}.gateway", default, via))
        routes = []
        for here, to, via in wanted:
            if to is None or via is None:
                continue
            if to.version != via.version:
                self.bad(here, f"{to} and {via} are of different families")
            elif not any(via in network for network in networks):
                self.bad(here, f"must lie in a network of the node (got {via})")
            routes.append(Route(to, via))
        return routes

    def sysctls(self, value: object, path: str) -> dict[str, str]:
        sysctls = {}
        for key, setting in self.mapping(value, path).items():
            if not SYSCTL.fullmatch(key):
                self.bad(f"{path}.{key}", "must be the name of a sysctl")
            if isinstance(setting, bool) or not isinstance(setting, (int, str)) or "\n" in str(setting):
                self.bad(f"{path}.{key}", f"must be an integer or one line of text (got {setting!r})")
            sysctls[key] = str(setting)
        return sysctls

    def serve(self, value: object, path: str) -> tuple[tuple[str, int], ...]:
        ports = []
        for protocol, numbers in self.mapping(value, path, ("tcp", "udp", "sctp")).items():
            for index, port in enumerate(self.sequence(numbers, f"{path}.{protocol}")):
                if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                    self.bad(f"{path}.{protocol}[{index}]", f"must be a port, 1 to 65535 (got {port!r})")
                elif protocol == "tcp" and port == 22:
                    self.bad(f"{path}.{protocol}[{index}]", "port 22 is the node's ssh server")
                else:
                    ports.append((protocol, port))
        return tuple(ports)

    def memory(self, value: object, path: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not LEAST_MEMORY <= value <= MOST_MEMORY:
            self.bad(path, f"must be MiB, {LEAST_MEMORY} to {MOST_MEMORY} (got {value!r})")
            return None
        return value

    def node(self, name: str, number: int, value: object, segments: tuple[str, ...]) -> Node:
        path = f"nodes.{name}"
        self.name(name, path)
        content = self.mapping(value, path, NODE_KEYS)
        interfaces = self.interfaces(content.get("interfaces"), f"{path}.interfaces", segments)
        networks = [own.network for addresses in interfaces.values() for own in addresses]
        return Node(
            name=name,
            number=number,
            interfaces=interfaces,
            routes=tuple(self.routes(content, path, networks)),
            sysctls=self.sysctls(content.get("sysctls"), f"{path}.sysctls"),
            serve=self.serve(content.get("serve"), f"{path}.serve"),
            variables=self.mapping(content.get("vars"), f"{path}.vars"),
            memory=self.memory(content.get("memory"), f"{path}.memory"),
        )

    def duplicates(self, nodes: Mapping[str, Node]) -> None:
        owners: dict[tuple[str, Address], str] = {}
        for node in nodes.values():
            for segment, addresses in node.interfaces.items():
                for own in addresses:
                    other = owners.setdefault((segment, own.ip), node.name)
                    if other != node.name:
                        self.bad(f"nodes.{node.name}.interfaces.{segment}", f"{own.ip} is the address of {other}")

    def groups(self, value: object, nodes: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
        groups = {}
        for group, members in self.mapping(value, "groups").items():
            path = f"groups.{group}"
            if not GROUP.fullmatch(group) or group in RESERVED_GROUPS or group in nodes:
                self.bad(path, "must be a name Ansible takes for a group: a-z, 0-9 and _, not that of a node")
            names = self.sequence(members, path)
            for name in names:
                if name not in nodes:
                    self.bad(path, f"no such node: {name!r} (known: {', '.join(nodes)})")
            groups[group] = tuple(str(name) for name in names)
        return groups


def parse(document: object) -> Topology:
    """Validate a topology document.

    :raises LabError: Names all problems, one per line, each with the path of its value.
    """
    reader = _Reader()
    content = reader.mapping(document, "topology", ("segments", "nodes", "groups"))
    given = reader.sequence(content.get("segments"), "segments")
    segments = tuple(reader.name(item, f"segments[{index}]") for index, item in enumerate(given))
    if len(set(segments)) != len(segments):
        reader.bad("segments", "names must differ")
    entries = reader.mapping(content.get("nodes"), "nodes")
    if not entries:
        reader.bad("nodes", "at least one node is needed")
    if len(entries) > 250:
        reader.bad("nodes", f"at most 250 nodes (got {len(entries)})")
    numbered = enumerate(entries.items(), 1)
    nodes = {name: reader.node(name, number, value, segments) for number, (name, value) in numbered}
    reader.duplicates(nodes)
    groups = reader.groups(content.get("groups"), nodes)
    if reader.problems:
        raise LabError("The topology is not valid:\n" + "\n".join(f"  {problem}" for problem in reader.problems))
    return Topology(segments, nodes, groups)


def load(path: Path) -> Topology:
    """Read and validate the topology file *path*."""
    try:
        return parse(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}")
    except yaml.YAMLError as error:
        raise LabError(f"{path}: {error}")
