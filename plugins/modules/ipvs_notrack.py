#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_notrack
short_description: Exempt DR and TUN services from connection tracking
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - With O(ignore:forward=dr) and O(ignore:forward=tun) a director sees the packets of clients and never the answers.
    Where C(net.ipv4.vs.conntrack) is 1 for the source NAT of other services, connection tracking takes what follows the
    first packet for invalid, and a rule that drops what is invalid breaks the services.
  - This module makes the nftables rules on the director that keep such traffic out of connection tracking.
  - The rules live in the tables C(l4lb_notrack) of the families C(ip) and C(ip6).
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.nft
  - l4lb.ipvs.traffic
options:
  traffic:
    description:
      - The traffic that is not tracked.
      - Required with O(state=present).
    type: list
    elements: dict
  force:
    description:
      - Leave also the connection through which the task came untracked. A filter that accepts established connections
        no longer knows it.
    type: bool
    default: false
notes:
  - C(protocols) may also have V(icmp), the errors that others report to the addresses, ICMPv6 included, such as those
    of packets that are too large. Conntrack takes those of traffic that it does not know for invalid. Name it only
    where nothing that needs tracking is on the address.
  - A rule that accepts new connections by their state does not accept these. Accept them by address and port, or with
    C(ct state untracked).
seealso:
  - module: l4lb.ipvs.ipvs_snat
  - plugin: l4lb.ipvs.untracked_traffic
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Leave a DR service untracked
  l4lb.ipvs.ipvs_notrack:
    traffic:
      - {addresses: [192.0.2.10, "2001:db8::10"], ports: [80, 443], protocols: [tcp, icmp]}

- name: Remove the tables of this module
  l4lb.ipvs.ipvs_notrack:
    state: absent
"""

RETURN = r"""
traffic:
  description:
    - The traffic of the task, ports in order. It feeds straight back as O(traffic) and changes nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - addresses: [192.0.2.10]
      ports: [80, 443]
      protocols: [tcp]
replaced:
  description: The tables that were not as the task wants them, and were replaced, made or removed.
  returned: success
  type: list
  elements: str
  sample: [ip l4lb_notrack]
unlisted:
  description: How many entries the tables had that are not in O(traffic), which O(purge=owned) removes.
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
      table ip l4lb_notrack: tcp 192.0.2.10:80
"""

import functools

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._traffic import UNTRACKED
from ansible_collections.l4lb.ipvs.plugins.module_utils._traffic_task import argument_spec, body


def main() -> None:
    run_module(argument_spec(UNTRACKED), functools.partial(body, UNTRACKED))


if __name__ == "__main__":
    main()
