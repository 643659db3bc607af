#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_connmark
short_description: Mark connections on a real server, so that answers can be routed by where they came from
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - The answers of a server with O(ignore:forward=nat) must go back through the director. A server that has one address
    for balanced and for other connections, and whose gateway is not the director, cannot tell the two by their
    addresses.
  - This module makes the nftables rules on the server that mark connections as they come in from the director, known by
    its hardware address or by the interface, and put the mark on the packets of the answers. A rule such as
    C(ip rule add fwmark 7 lookup 100) then routes these through the director.
  - The rules live in the tables C(l4lb_connmark) of the families C(ip) and C(ip6).
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.nft
  - l4lb.ipvs.traffic
options:
  connections:
    description:
      - The marks and the connections that get each.
      - Required with O(state=present).
    type: list
    elements: dict
  force:
    description:
      - Mark also the connection through which the task came. Where a rule routes by that mark, its answers go another
        way.
    type: bool
    default: false
notes:
  - Each of O(connections) has C(fwmark) (required), 1 to 4294967295, and C(family) (required), V(ipv4) or V(ipv6),
    beside its traffic. C(macs) are the hardware addresses of the senders, by default any. One of C(interfaces) and
    C(macs) is required.
  - A connection whose packets begin to come from another director gets that one's mark, and its answers follow.
  - The host needs a route to the client, by its own gateway for instance; without one it sends nothing that could be
    routed otherwise.
  - Only connections of the host itself get their answers marked, not those that it routes.
seealso:
  - module: l4lb.ipvs.ipvs_mark
"""

EXAMPLES = r"""
- name: Mark what two directors send, to answer each through itself
  l4lb.ipvs.ipvs_connmark:
    connections:
      - {fwmark: 101, family: ipv4, addresses: [198.51.100.11], ports: [8443], macs: ["00:00:5e:00:53:01"]}
      - {fwmark: 102, family: ipv4, addresses: [198.51.100.11], ports: [8443], macs: ["00:00:5e:00:53:02"]}

- name: Remove the tables of this module
  l4lb.ipvs.ipvs_connmark:
    state: absent
"""

RETURN = r"""
connections:
  description:
    - The connections of the task, ports in order. They feed straight back as O(connections) and change nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - fwmark: 101
      family: ipv4
      addresses: [198.51.100.11]
      ports: [8443]
      protocols: [tcp]
      macs: ["00:00:5e:00:53:01"]
replaced:
  description: The tables that were not as the task wants them, and were replaced, made or removed.
  returned: success
  type: list
  elements: str
  sample: [ip l4lb_connmark]
unlisted:
  description: How many entries the tables had that are not in O(connections), which O(purge=owned) removes.
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
      table ip l4lb_connmark: tcp 198.51.100.11:8443 from 00:00:5e:00:53:01 mark 101
"""

import functools

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._traffic import CONNECTIONS
from ansible_collections.l4lb.ipvs.plugins.module_utils._traffic_task import argument_spec, body


def main() -> None:
    run_module(argument_spec(CONNECTIONS), functools.partial(body, CONNECTIONS))


if __name__ == "__main__":
    main()
