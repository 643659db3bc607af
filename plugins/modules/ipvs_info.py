#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_info
short_description: Read the IPVS table
version_added: 0.1.0
description:
  - Reads the kernel's IPVS table with its counters, over netlink and without C(ipvsadm).
  - What it returns as RV(services) feeds straight back into M(l4lb.ipvs.ipvs_table) and changes nothing.
  - It loads no kernel module. Without C(ip_vs) the table is empty and RV(loaded) is V(false).
extends_documentation_fragment:
  - l4lb.ipvs.attributes.info_module
  - l4lb.ipvs.netns
notes:
  - Needs root, or C(CAP_NET_ADMIN) in the initial user namespace, even to read.
  - The kernel refreshes counters every two seconds.
seealso:
  - module: l4lb.ipvs.ipvs_table
author:
  - The l4lb.ipvs authors (@l4lb)
"""

EXAMPLES = r"""
- name: Read the table
  l4lb.ipvs.ipvs_info:
  register: ipvs

- name: Show how many connections each server has
  ansible.builtin.debug:
    msg: "{{ item.servers | items2dict(key_name='address', value_name='connections') }}"
  loop: "{{ ipvs.statistics }}"
"""

RETURN = r"""
loaded:
  description: Whether IPVS is in the running kernel.
  returned: success
  type: bool
version:
  description: The version of IPVS.
  returned: when RV(loaded) is true
  type: str
  sample: 1.2.1
connection_table_size:
  description: The number of buckets of the connection table.
  returned: when RV(loaded) is true
  type: int
  sample: 4096
services:
  description:
    - The virtual services with their servers in input keys, in the order of C(ipvsadm).
    - A foreign entry may hold a number that has no word (a protocol, a forwarding method, a tunnel type). It is
      returned as a string of digits, and an unknown scheduler flag as V(flag-4) to V(flag-29).
    - Modules accept a value that breaks a rule for new input as long as the entry already has it. They keep it with a
      warning.
  returned: success
  type: list
  elements: dict
  sample:
    - address: 192.0.2.10
      port: 443
      protocol: tcp
      scheduler: mh
      scheduler_flags: [mh-port]
      persistence_timeout: 0
      persistence_engine: none
      one_packet: false
      servers:
        - address: 198.51.100.11
          port: 8443
          forward: nat
          weight: 1
          upper_threshold: 0
          lower_threshold: 0
statistics:
  description:
    - The counters of the same services in the same order, each named by its C(service) and with C(counters), C(rates)
      (per second) and C(servers).
    - Each of C(servers) has its C(address), C(port), C(counters), C(rates) and C(connections).
  returned: success
  type: list
  elements: dict
  sample:
    - service: {address: 192.0.2.10, port: 443, protocol: tcp}
      counters: {connections: 3, packets_in: 12, packets_out: 9, bytes_in: 900, bytes_out: 700}
      rates:
        connections_per_second: 0
        packets_in_per_second: 0
        packets_out_per_second: 0
        bytes_in_per_second: 0
        bytes_out_per_second: 0
      servers:
        - address: 198.51.100.11
          port: 8443
          counters: {connections: 3, packets_in: 12, packets_out: 9, bytes_in: 900, bytes_out: 700}
          rates:
            connections_per_second: 0
            packets_in_per_second: 0
            packets_out_per_second: 0
            bytes_in_per_second: 0
            bytes_out_per_second: 0
          connections: {active: 1, inactive: 2, persistent: 0}
"""

from typing import Any

from ansible_collections.l4lb.ipvs.plugins.module_utils import _model, _text
from ansible_collections.l4lb.ipvs.plugins.module_utils._client import Client, Statistics, ipvs_loaded
from ansible_collections.l4lb.ipvs.plugins.module_utils._module import Task, run_module


def run(task: Task) -> dict[str, Any]:
    if not ipvs_loaded():
        return {"changed": False, "loaded": False, "services": [], "statistics": []}
    statistics: Statistics = {}
    with Client() as client:
        version, size = client.info()
        table = client.table(statistics=statistics)
    return {
        "changed": False,
        "loaded": True,
        "version": version,
        "connection_table_size": size,
        "services": [_text.entry_params(table[key]) for key in sorted(table)],
        "statistics": [_statistics(table[key], statistics) for key in sorted(table)],
    }


def _statistics(entry: _model.Entry, statistics: Statistics) -> dict[str, Any]:
    key = entry.service.key
    servers = [
        {**_text.server_key_params(server_key), **statistics[key, server_key]} for server_key in sorted(entry.servers)
    ]
    return {"service": _text.key_params(key), **statistics[key, None], "servers": servers}


def main() -> None:
    run_module({}, run, writes=False)


if __name__ == "__main__":
    main()
