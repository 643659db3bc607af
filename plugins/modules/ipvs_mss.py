#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_mss
short_description: Let clients send segments that fit a tunnel
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - With O(ignore:forward=tun), the director puts every packet of the client into another one. A packet as large as the
    path allows then no longer fits, and the client gets to know by ICMP alone, which many firewalls drop.
  - The backend answers the client itself, past the tunnel, so that it can tell the client how much to send. This module
    makes nftables rules on the backend that lower the maximum segment size (MSS) in TCP packets which leave with a VIP
    as their source and have the SYN flag, SYN-ACK included. It never raises one.
  - The rules live in the tables C(l4lb_mss) of the families C(ip) and C(ip6).
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.nft
options:
  clamps:
    description:
      - The VIPs and the MSS that each announces at most.
      - Required with O(state=present).
    type: list
    elements: dict
  keep_former:
    description:
      - Whether a listed VIP keeps the MSS that it has where that is lower, for directors that still send through a
        tunnel which takes more room. A later run without this option raises it.
      - Means nothing with O(state=absent), and with O(purge) other than V(none).
    type: bool
    default: false
notes:
  - Each of O(clamps) is a dict of C(address), the VIP, and C(mss), the size in bytes without any header (48 to 65495).
    Both are required.
  - "C(mss) is the MTU of the path from the director to the backend, less the outer IP header (20 bytes for IPv4, 40 for
    IPv6), less what is between the headers (ipip 0; GRE 4, with a checksum 8; GUE 12, with a remote checksum 20), less
    the inner IP header (20 or 40), less 20 for TCP. For ipip within IPv4 over Ethernet that is 1440."
  - A change serves connections that are made from then on.
  - UDP and SCTP have no MSS.
seealso:
  - module: l4lb.ipvs.ipvs_vip
"""

EXAMPLES = r"""
- name: Leave room for ipip in an Ethernet
  l4lb.ipvs.ipvs_mss:
    clamps:
      - {address: 192.0.2.10, mss: 1440}
      - {address: "2001:db8::10", mss: 1420}

- name: Remove the tables of this module
  l4lb.ipvs.ipvs_mss:
    state: absent
"""

RETURN = r"""
clamps:
  description: The clamps of the task. They feed straight back as O(clamps) and change nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - address: 192.0.2.10
      mss: 1440
replaced:
  description: The tables that were not as the task wants them, and were replaced, made or removed.
  returned: success
  type: list
  elements: str
  sample: [ip l4lb_mss]
unlisted:
  description: How many entries the tables had that are not in O(clamps), which O(purge=owned) removes.
  returned: success
  type: int
  sample: 0
diff:
  description: >-
    The clamps of the tables before and after, one per line. A table that somebody else changed is told by one line in
    their place.
  returned: in diff mode
  type: dict
  sample:
    before: ""
    after: |
      table ip l4lb_mss: 192.0.2.10 mss 1440
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._mss_task import body
from ansible_collections.l4lb.ipvs.plugins.module_utils._nft_task import argument_spec
from ansible_collections.l4lb.ipvs.plugins.module_utils._values import KEEP_FORMER


def main() -> None:
    run_module({**argument_spec("clamps"), **KEEP_FORMER}, body)


if __name__ == "__main__":
    main()
