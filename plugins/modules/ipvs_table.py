#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_table
short_description: Manage many IPVS virtual services with their servers in one task
version_added: 0.1.0
description:
  - Makes the listed virtual services true in the kernel's IPVS table, with their servers, over netlink and without
    C(ipvsadm). One reading, one plan, batched writes.
  - A listed service is the whole truth about its options and about the servers it lists. What is not given is the
    default, not the live value; that is the difference from M(l4lb.ipvs.ipvs_service) and M(l4lb.ipvs.ipvs_server).
  - Services and servers are changed in place and never removed and made again. Additions come first, then changes,
    then weights that go to 0, then removals; and if one step fails, nothing is removed.
  - The servers of a service are added in the order of their family, address and port, on every director alike. The
    scheduler V(sh) depends on it.
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.table
options:
  services:
    description:
      - A list of dictionaries. Every problem in it is told at once, each with its path, and nothing is written.
      - "What names a service: C(address), C(port) and C(protocol) (V(tcp) by default), or C(fwmark) and C(family)."
      - "How it balances: C(scheduler) (V(wlc) by default), C(scheduler_flags), C(persistence_timeout) (0),
        C(persistence_netmask), C(persistence_engine) (V(none)) and C(one_packet) (false), as in
        M(l4lb.ipvs.ipvs_service)."
      - "C(name): a label for humans. It never reaches the kernel and makes no difference."
      - "C(forward): the default of its servers, V(dr) unless given."
      - "C(servers): a list of dictionaries of C(address), C(port) (the service's port by default), C(forward),
        C(weight) (1), C(upper_threshold) (0), C(lower_threshold) (0), C(tunnel_type) (V(ipip)), C(tunnel_port) and
        C(tunnel_checksum) (V(none)), as in M(l4lb.ipvs.ipvs_server)."
      - A service without servers, weights that are all 0, and more weight than V(sh) has slots are accepted with a
        warning.
    type: list
    elements: dict
    required: true
  state:
    description:
      - V(absent) removes the listed services together with their servers, whatever their live options and servers are.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - What happens to services that are not listed, and to servers that are not listed of services that are. V(none)
        leaves them alone.
    type: str
    choices: [none]
    default: none
seealso:
  - module: l4lb.ipvs.ipvs_service
  - module: l4lb.ipvs.ipvs_server
  - module: l4lb.ipvs.ipvs_info
author:
  - The l4lb.ipvs authors (@l4lb)
"""

EXAMPLES = r"""
- name: Balance two services
  l4lb.ipvs.ipvs_table:
    services:
      - name: web
        address: 192.0.2.10
        port: 443
        scheduler: mh
        scheduler_flags: [mh-port]
        forward: nat
        servers:
          - {address: 198.51.100.11, port: 8443}
          - {address: 198.51.100.12, port: 8443}
          - {address: 198.51.100.13, port: 8443, weight: 2}
      - name: dns
        address: 192.0.2.10
        port: 53
        protocol: udp
        one_packet: true
        servers:
          - {address: 198.51.100.21}
          - {address: 198.51.100.22}

- name: Bring back what ipvs_info told yesterday
  l4lb.ipvs.ipvs_table:
    services: "{{ yesterday.services }}"

- name: Remove the services
  l4lb.ipvs.ipvs_table:
    services: "{{ retired_services }}"
    state: absent
"""

RETURN = r"""
counts:
  description: How many operations of each kind the task did, or in check mode would do.
  returned: success
  type: dict
  sample: {add_service: 1, add_server: 3}
operations:
  description: The operations in the notation of C(ipvsadm), the first 100 of them.
  returned: success
  type: list
  elements: str
  sample: ["-A -t 192.0.2.10:443 -s mh -b mh-port", "-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"]
"""

from collections import Counter
from typing import Any

from ..module_utils import _argspec, _model
from ..module_utils._converge import converge
from ..module_utils._errors import Findings
from ..module_utils._module import Task, run_module
from ..module_utils._plan import Plan, plan

ARGUMENT_SPEC = {
    "services": {"type": "list", "elements": "dict", "required": True},
    "purge": {"type": "str", "choices": ["none"], "default": "none"},
    **_argspec.STATE,
}


def run(task: Task) -> dict[str, Any]:
    findings = Findings()
    listed = _model.parse_services(task.params["services"], "services", findings)
    absent = task.params["state"] == "absent"
    if absent:
        # what is legal but unwise in a service does not matter to its removal
        findings.warnings.clear()
    task.conclude(findings)

    def decide(table: _model.Table) -> Plan:
        return plan(table, {}, unwanted_services=listed) if absent else plan(table, listed)

    result = converge(task, lambda client: client.table(listed), decide)
    result["counts"] = dict(Counter(operation.action for operation in result.pop("plan").operations))
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
