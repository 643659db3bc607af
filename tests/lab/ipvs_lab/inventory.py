# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible inventory of a running lab."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .topology import Node, Topology

# the algorithms are the ones that cost an emulated processor the least
SSH_OPTIONS = {
    "IdentitiesOnly": "yes",
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "LogLevel": "ERROR",
    "PreferredAuthentications": "publickey",
    "KexAlgorithms": "curve25519-sha256",
    "ServerAliveInterval": "15",
    "ControlMaster": "auto",
    "ControlPersist": "60s",
}


def ssh_arguments(key: Path, control_path: Path | None = None) -> list[str]:
    """The arguments of ssh(1) that reach every node, less port and host; Ansible has a control path of its own."""
    options = {**SSH_OPTIONS, **({"ControlPath": str(control_path)} if control_path else {})}
    return ["-i", str(key), *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def _host(node: Node, port: int, key: Path) -> dict[str, Any]:
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": "root",
        "ansible_ssh_common_args": shlex.join(ssh_arguments(key)),
        "ansible_python_interpreter": "/usr/bin/python3",
        "lab_devices": {segment: node.device(segment) for segment in node.interfaces},
        "lab_addresses": {
            segment: [str(own.ip) for own in addresses] for segment, addresses in node.interfaces.items()
        },
        "ipvs_networks": [str(own) for addresses in node.interfaces.values() for own in addresses],
        **node.variables,
    }


def inventory(topology: Topology, ports: Mapping[str, int], key: Path) -> dict[str, Any]:
    """The inventory as the structure of an Ansible YAML inventory.

    Beside the connection variables each host has ``lab_devices`` (segment -> device), ``lab_addresses``
    (segment -> addresses without prefix), ``ipvs_networks`` (addresses with prefix) and the variables of its topology.
    """
    return {
        "all": {
            "hosts": {name: _host(node, ports[name], key) for name, node in topology.nodes.items()},
            "children": {
                group: {"hosts": {name: {} for name in members}} for group, members in topology.groups.items()
            },
        }
    }
