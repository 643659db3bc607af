#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_mark
short_description: Mark the traffic of virtual services by firewall mark
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - IPVS balances by address and port, or by a firewall mark that packets carry. A mark makes one service of several
    addresses and ports, so that a client that persists reaches the same server on each of them, for instance with
    http and https.
  - This module makes the nftables rules on the director that mark packets as they come in. It sets the whole mark, for
    IPVS compares all of it.
  - The rules live in the tables C(l4lb_mark) of the families C(ip) and C(ip6).
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.nft
  - l4lb.ipvs.traffic
options:
  marks:
    description:
      - The marks and the traffic that gets each.
      - Required with O(state=present).
    type: list
    elements: dict
  force:
    description:
      - Mark also the packets of the connection through which the task came. Where a service has that mark, IPVS takes
        them before sshd sees them.
    type: bool
    default: false
notes:
  - Each of O(marks) has C(fwmark) (required), 1 to 4294967295, and C(family) (required), V(ipv4) or V(ipv6), beside its
    traffic.
  - The addresses must be local to the director, for IPVS sees nothing else; M(l4lb.ipvs.ipvs_vip) places them.
  - Packets that the host sends itself are not marked. A service by mark has no clients on its own director.
seealso:
  - module: l4lb.ipvs.ipvs_service
  - module: l4lb.ipvs.ipvs_table
  - plugin: l4lb.ipvs.service_marks
    plugin_type: filter
"""

EXAMPLES = r"""
- name: One service for http and https, each family with its own
  l4lb.ipvs.ipvs_mark:
    marks:
      - {fwmark: 80, family: ipv4, addresses: [192.0.2.10, 192.0.2.11], ports: [80, 443]}
      - {fwmark: 80, family: ipv6, addresses: ["2001:db8::10"], ports: [80, 443]}

- name: Mark a range of ports, of what comes from outside
  l4lb.ipvs.ipvs_mark:
    marks:
      - fwmark: 7
        family: ipv4
        addresses: [192.0.2.10]
        ports: ["8000-8010"]
        protocols: [tcp, udp]
        interfaces: [eth0]

- name: Remove the tables of this module
  l4lb.ipvs.ipvs_mark:
    state: absent
"""

RETURN = r"""
marks:
  description:
    - The marks of the task, ports in order. They feed straight back as O(marks) and change nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - fwmark: 80
      family: ipv4
      addresses: [192.0.2.10]
      ports: [80, 443]
      protocols: [tcp]
replaced:
  description: The tables that were not as the task wants them, and were replaced, made or removed.
  returned: success
  type: list
  elements: str
  sample: [ip l4lb_mark]
unlisted:
  description: How many entries the tables had that are not in O(marks), which O(purge=owned) removes.
  returned: success
  type: int
  sample: 0
diff:
  description: >-
    What is in the tables before and after, one line for each protocol, address and range of ports. A table that
    somebody else changed is told by one line in their place.
  returned: in diff mode
  type: dict
  sample:
    before: ""
    after: |
      table ip l4lb_mark: tcp 192.0.2.10:80 mark 80
"""

import functools

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._traffic import MARKS
from ansible_collections.l4lb.ipvs.plugins.module_utils._traffic_task import argument_spec, body


def main() -> None:
    run_module(argument_spec(MARKS), functools.partial(body, MARKS))


if __name__ == "__main__":
    main()
