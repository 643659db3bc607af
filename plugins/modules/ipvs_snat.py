#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_snat
short_description: Give balanced connections a source address of the director
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - With O(ignore:forward=nat), the answers of a real server must come back through the director. Where the director
    is not on the server's way back to the client, for instance because all are in one network, the director must also
    write its own address into the packet as the source. This module makes the nftables rules for that.
  - The rules live in the tables C(l4lb_snat) of the families C(ip) and C(ip6).
  - A connection is matched by its original destination (the VIP with protocol and port, as conntrack remembers it)
    together with the server's address and port. A packet that is merely routed to a server keeps its source.
  - Flows are elements of sets, so that a packet costs a lookup however many there are.
extends_documentation_fragment:
  - l4lb.ipvs.assume_prepared
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.nft
options:
  flows:
    description:
      - The connections that get a new source.
      - Required with O(state=present).
    type: list
    elements: dict
  forget_untranslated:
    description:
      - Forget the connections to the services of O(flows) that are tracked as if the director itself answered them. A
        connection is given a new source with its first packet or never. Those that were tracked while a
        service was sent on by O(ignore:forward=dr) or O(ignore:forward=tun) have none, and a client that uses its port
        again while one of them is remembered gets no answer.
      - Give it once the servers are in the IPVS table with O(ignore:forward=nat). What is forgotten is tracked anew
        with its next packet.
      - Connections to a service with C(fwmark) are not looked for. With O(state=absent) it is refused.
    type: bool
    default: false
requirements:
  - ip (iproute2) with a fixed source
  - conntrack (conntrack-tools) with O(forget_untranslated=true)
notes:
  - Each of O(flows) is a dict. C(service) (required) names the service, as C(address), C(port) and C(protocol)
    (V(tcp) by default), or as C(fwmark) and C(family). C(server) (required) names the server by C(address) and
    C(port), which is by default that of the service. C(source) is the address that the connections get; without it,
    that of the interface they leave by (masquerade).
  - C(source) must be an address of this host, since answers go there, or that of the service, which a director may get
    later.
  - A service with port 0 matches any port of the server, and one with C(fwmark) any protocol and port, because IPVS
    keeps the packet's own.
  - The sysctl C(net.ipv4.vs.conntrack) must be 1, or IPVS would hide its connections from the rules. Without it the
    task is refused, in check mode warned of.
  - Connections that are established keep their address when a table is replaced, for conntrack remembers it.
  - Keep what leaves a service (O(purge=none)) until it is out of the IPVS table, for it has connections to answer.
seealso:
  - module: l4lb.ipvs.ipvs_sysctl
  - module: l4lb.ipvs.ipvs_table
"""

EXAMPLES = r"""
- name: Masquerade the connections of a service to its servers
  l4lb.ipvs.ipvs_snat:
    flows:
      - service: {address: 192.0.2.10, port: 443}
        server: {address: 198.51.100.11, port: 8443}
      - service: {address: 192.0.2.10, port: 443}
        server: {address: 198.51.100.12, port: 8443}

- name: Use a fixed source address, for a service by firewall mark too
  l4lb.ipvs.ipvs_snat:
    flows:
      - service: {address: "2001:db8::10", port: 53, protocol: udp}
        server: {address: "2001:db8:1::11", port: 53}
        source: "2001:db8:1::1"
      - service: {fwmark: 7, family: ipv4}
        server: {address: 198.51.100.11}
        source: 198.51.100.1

- name: Have the connections of a service that was sent on by DR before translated as well, once its servers are edited
  l4lb.ipvs.ipvs_snat:
    flows:
      - service: {address: 192.0.2.10, port: 443}
        server: {address: 198.51.100.11, port: 443}
    forget_untranslated: true

- name: Remove the tables of this module
  l4lb.ipvs.ipvs_snat:
    state: absent
"""

RETURN = r"""
flows:
  description:
    - The flows of the task, every value but C(source) stated. They feed straight back as O(flows) and change nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - service:
        address: 192.0.2.10
        port: 443
        protocol: tcp
      server:
        address: 198.51.100.11
        port: 8443
replaced:
  description: The tables that were not as the task wants them, and were replaced, made or removed.
  returned: success
  type: list
  elements: str
  sample: [ip l4lb_snat]
unlisted:
  description: How many connections the tables had that are not in O(flows), which O(purge=owned) removes.
  returned: success
  type: int
  sample: 0
forgotten:
  description: How many connections were forgotten, or would be in check mode.
  returned: success
  type: int
  sample: 0
diff:
  description: >-
    The flows of the tables before and after, one per line. A table that somebody else changed is told by one line in
    their place.
  returned: in diff mode
  type: dict
  sample:
    before: ""
    after: |
      table ip l4lb_snat: tcp 192.0.2.10:443 -> 198.51.100.11:8443 masquerade
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._snat_task import ARGUMENT_SPEC, body


def main() -> None:
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
