# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a node out of a machine: the files with its name, addresses and ports, and the script that sets them."""

from __future__ import annotations

import hashlib
import shlex

from .topology import Node, Topology

# read first at boot, so that whatever is tested in the node overrides it
SYSCTL_FILE = "/etc/sysctl.d/00-l4lb-lab.conf"
RESEED = 0x5207  # the ioctl RNDRESEEDCRNG of random(4)


def network_batch(node: Node) -> str:
    """The node's network in the language of ``ip -batch``; the node replays it at every boot."""
    lines = []
    for nic, (segment, addresses) in enumerate(node.interfaces.items(), 1):
        device = node.device(segment)
        lines += [f"link set {device} address {node.mac(nic)}", f"link set {device} up"]
        for own in addresses:
            # an IPv6 address is usable at once: nobody else can have it in the lab
            lines.append(f"address replace {own} dev {device}{' nodad' if own.version == 6 else ''}")
    lines += [f"route replace {route.to} via {route.via}" for route in node.routes]
    return "".join(f"{line}\n" for line in lines)


def machine_id(lab: str, node: Node) -> str:
    """An identity of its own for each node of each lab, always the same (machine-id(5))."""
    return hashlib.sha256(f"{lab} {node.name}".encode()).hexdigest()[:32]


def hosts(topology: Topology, node: Node) -> str:
    """The text of /etc/hosts: each node by its first address."""
    lines = ["127.0.0.1 localhost", f"127.0.1.1 {node.name}", "::1 localhost"]
    for other in topology.nodes.values():
        addresses = [own.ip for addresses in other.interfaces.values() for own in addresses]
        if other is not node and addresses:
            lines.append(f"{addresses[0]} {other.name}")
    return "".join(f"{line}\n" for line in lines)


def files(lab: str, topology: Topology, node: Node) -> dict[str, str]:
    """The files of one node: path -> content."""
    contents = {
        "/etc/hostname": f"{node.name}\n",
        "/etc/hosts": hosts(topology, node),
        "/etc/machine-id": f"{machine_id(lab, node)}\n",
        "/etc/l4lb-lab/network": network_batch(node),
    }
    if node.sysctls:
        contents[SYSCTL_FILE] = "".join(f"{key} = {value}\n" for key, value in node.sysctls.items())
    if node.serve:
        ports = " ".join(f"{protocol}:{port}" for protocol, port in node.serve)
        contents["/etc/l4lb-lab/serve"] = f'PORTS="{ports}"\n'
    return contents


def script(lab: str, topology: Topology, node: Node, now: float, seed: str) -> str:
    """The shell script that turns a restored snapshot into *node*.

    :param now: The time of day, in seconds since 1970.
    :param seed: Letters and digits that nobody else has, for the kernel's random numbers.
    """
    lines = [
        "set -eu",
        f"date -u -s @{now:.3f} >/dev/null",
        # all nodes start with the same memory, the state of the random number generator included
        f"perl -e 'open(F, q(>/dev/urandom)); syswrite(F, q({seed})); ioctl(F, {RESEED}, 0) or die'",
        "old=$(cat /etc/machine-id)",
        "mkdir -p /etc/l4lb-lab",
    ]
    for path, content in files(lab, topology, node).items():
        lines.append(f"printf %s {shlex.quote(content)} >{path}")
    lines.append(f"hostname {node.name}")
    # the journal finds its own files by the machine's identity
    lines.append('mv "/run/log/journal/$old" "/run/log/journal/$(cat /etc/machine-id)"')
    if node.sysctls:
        lines.append(f"sysctl -q -p {SYSCTL_FILE}")
    lines.append("/usr/local/sbin/l4lb-lab-network")
    if node.serve:
        lines.append("systemctl start l4lb-serve.service")
    lines.append("sync")
    return "".join(f"{line}\n" for line in lines)
