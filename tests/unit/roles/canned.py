# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook with the real roles, playbooks and filters, and canned modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("ipvs_*.py"))


class Run(NamedTuple):
    """How a run of ansible-playbook ended: what it printed, and the modules it called."""

    status: int
    output: str
    calls: list[dict[str, Any]]

    def of(self, module: str) -> dict[str, dict[str, Any]]:
        """The parameters of the last call of a module, by host."""
        return {call["host"]: call["parameters"] for call in self.calls if call["module"] == module}


def host_info(*addresses: str, **more: Any) -> dict[str, Any]:
    """What ``ipvs_host_info`` reads on a host that has these addresses (``address/prefix length``) and everything that
    the roles need.
    """
    devices: dict[str, list[str]] = {"lo": ["127.0.0.1/8", *more.pop("vips", ())], "eth0": [*addresses]}
    interfaces = [
        {
            "name": name,
            "kind": "",
            "alias": "",
            "mtu": 1500,
            "addresses": [{"address": one.split("/")[0], "prefix": int(one.split("/")[1])} for one in listed],
        }
        for name, listed in devices.items()
    ]
    arp = {"arp_ignore": 1, "arp_announce": 2, "rp_filter": 0}
    sysctls = {f"net.ipv4.conf.{device}.{name}": arp[name] for device in ("all", *devices) for name in arp}
    modules = ("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_wlc", "nf_conntrack", "nft_chain_nat")
    none = ("gateways", "rules", "routes", "tables", "files", "firewall", "source_nat", "owners", "forwards")
    return {
        **{name: [] for name in none},
        "modules": dict.fromkeys(modules, "loaded"),
        "tools": dict.fromkeys(("ipvsadm", "nft", "conntrack", "pyroute2"), True),
        "interfaces": interfaces,
        "sysctls": sysctls,
        "boot": {},
        "connection": None,
        **more,
    }


def collection(directory: Path) -> Path:
    """A path of collections with this one in it, its modules canned."""
    home = directory / "collections" / "ansible_collections" / "l4lb" / "ipvs"
    (home / "plugins" / "action").mkdir(parents=True)
    for part in ("galaxy.yml", "meta", "playbooks", "roles"):
        (home / part).symlink_to(ROOT / part)
    for part in ("doc_fragments", "filter", "module_utils", "plugin_utils"):
        (home / "plugins" / part).symlink_to(ROOT / "plugins" / part)
    for module in MODULES:
        (home / "plugins" / "action" / f"{module}.py").symlink_to(HERE / "canned_action.py")
    return directory / "collections"


def run(directory: Path, *arguments: str) -> Run:
    """Run ansible-playbook with these arguments in a directory that has an inventory ``hosts.yml``.

    Nothing but what is tagged as running is done: the rest would use modules of others on this very host.
    """
    calls = directory / "calls"
    calls.write_text("")
    if not (directory / "collections").exists():
        collection(directory)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections"),
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
        "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_NOCOWS": "1",
        "CANNED_CALLS": str(calls),
        "COLUMNS": "10000",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    called = [json.loads(line) for line in calls.read_text().splitlines()]
    return Run(done.returncode, done.stdout + done.stderr, called)
