#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_service
short_description: Manage one IPVS virtual service
version_added: 0.1.0
description:
  - Makes, changes or removes one virtual service of the kernel's IPVS table, over netlink and without C(ipvsadm).
  - A service is changed in place and never removed and made again. Its servers are left alone;
    they are M(l4lb.ipvs.ipvs_server)'s matter.
  - An option that is not given leaves the live value as it is. A new service gets the defaults of C(ipvsadm).
  - For more than a few services use M(l4lb.ipvs.ipvs_table), which does them all in one task.
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.service
  - l4lb.ipvs.service.options
  - l4lb.ipvs.netns
  - l4lb.ipvs.table
  - l4lb.ipvs.table.force
options:
  state:
    description:
      - V(absent) removes the service together with its servers. Live connections of a removed service hang.
      - With V(absent), only the options that name the service may be given.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: l4lb.ipvs.ipvs_server
  - module: l4lb.ipvs.ipvs_table
  - module: l4lb.ipvs.ipvs_info
author:
  - The l4lb.ipvs authors (@l4lb)
"""

EXAMPLES = r"""
- name: Balance HTTPS by Maglev hashing over source address and port
  l4lb.ipvs.ipvs_service:
    address: 192.0.2.10
    port: 443
    protocol: tcp
    scheduler: mh
    scheduler_flags: [mh-port]

- name: Keep every client of a /24 on one server for five minutes
  l4lb.ipvs.ipvs_service:
    address: 192.0.2.10
    port: 443
    persistence_timeout: 300
    persistence_netmask: 24

- name: Balance whatever carries firewall mark 7, over IPv6
  l4lb.ipvs.ipvs_service:
    fwmark: 7
    family: ipv6
    scheduler: wrr

- name: Remove a service with its servers
  l4lb.ipvs.ipvs_service:
    address: 192.0.2.10
    port: 443
    state: absent
"""

RETURN = r"""
service:
  description:
    - The service in this module's options, as it is after the task. It feeds straight back and changes nothing.
  returned: O(state=present)
  type: dict
  sample:
    address: 192.0.2.10
    port: 443
    protocol: tcp
    scheduler: mh
    scheduler_flags: [mh-port]
    persistence_timeout: 0
    persistence_engine: none
    one_packet: false
operations:
  description: What the task did, or in check mode would do, in the notation of C(ipvsadm).
  returned: success
  type: list
  elements: str
  sample: ["-A -t 192.0.2.10:443 -s mh -b mh-port"]
"""

from functools import cache, partial
from typing import Any

from ansible_collections.l4lb.ipvs.plugins.module_utils import _argspec, _model, _text
from ansible_collections.l4lb.ipvs.plugins.module_utils._converge import converge, new_register
from ansible_collections.l4lb.ipvs.plugins.module_utils._errors import Findings
from ansible_collections.l4lb.ipvs.plugins.module_utils._module import Task, run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._plan import Plan, plan

ARGUMENT_SPEC = {**_argspec.SERVICE_KEY, **_argspec.SERVICE_OPTIONS, **_argspec.FORCE, **_argspec.STATE}


def run(task: Task) -> dict[str, Any]:
    findings = Findings()
    key, options = _argspec.parse_service(task.params, findings)

    def decide(table: _model.Table) -> Plan:
        if task.params["state"] == "absent":
            return plan(table, {}, unwanted_services=[key])
        live = table.get(key)
        service = _model.make_service(key, options, live.service if live else None, "", findings)
        _model.settle(findings, table)
        task.conclude(findings)
        if live is None:
            # most runs add none
            from ansible_collections.l4lb.ipvs.plugins.module_utils._management import refuse_capture

            refuse_capture(task, [key])
        return plan(table, {key: _model.Entry(service, {})})

    register = cache(partial(new_register, [key])) if task.params["state"] == "absent" else None
    result = converge(task, lambda client: client.entry(key), decide, register)
    predicted = result.pop("plan").predicted
    if key in predicted:
        result["service"] = _text.service_params(predicted[key].service)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
