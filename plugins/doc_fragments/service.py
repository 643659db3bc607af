# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The identity of a virtual service.
    DOCUMENTATION = r"""
options:
  address:
    description:
      - The address of the service (VIP), IPv4 or IPv6. Host names are not resolved.
      - A loopback address is accepted with a warning; the unspecified address, multicast and link-local addresses are
        refused.
      - Required with O(port), unless O(fwmark) is given.
    type: str
  port:
    description:
      - The port of the service, an integer in the range 0 to 65535.
      - V(0) stands for every port and needs O(persistence_timeout).
      - YAML reads C(22:22) without quotes as a number to the base 60, and the module is given 1342.
    type: raw
  protocol:
    description:
      - The transport protocol, one of V(tcp), V(udp) and V(sctp). An O(address) without it means V(tcp).
    type: str
  fwmark:
    description:
      - The firewall mark of the service, an integer in the range 1 to 4294967295, instead of O(address), O(port) and
        O(protocol).
      - Needs O(family).
    type: raw
  family:
    description:
      - The address family of a service with O(fwmark), V(ipv4) or V(ipv6).
    type: str
"""

    # How a virtual service balances.
    OPTIONS = r"""
options:
  scheduler:
    description:
      - One of V(rr), V(wrr), V(lc), V(wlc), V(fo), V(ovf), V(lblc), V(lblcr), V(sh), V(dh), V(sed), V(nq), V(mh) and
        V(twos).
      - The kernel module C(ip_vs_<scheduler>) must be available; that is checked before anything is written.
      - A new service has V(wlc) by default.
      - While it is changed, for some milliseconds, the kernel has none for the service and refuses new connections.
        Those that are open live on.
    type: str
  scheduler_flags:
    description:
      - Any of V(sh-fallback) and V(sh-port) with O(scheduler=sh), V(mh-fallback) and V(mh-port) with O(scheduler=mh),
        and V(flag-1), V(flag-2) and V(flag-3).
      - An empty list clears them. A change of O(scheduler) without this option clears those of the old scheduler.
    type: list
    elements: str
  persistence_timeout:
    description:
      - How long a client stays with its server, in seconds in the range 1 to 2678400 (31 days). V(0) switches
        persistence off.
    type: raw
  persistence_netmask:
    description:
      - Which clients share a server, a prefix length (0 to 32 for IPv4, 1 to 128 for IPv6), or a dotted IPv4 mask.
      - A mask that is not contiguous is accepted with a warning, as the kernel accepts it.
      - Needs O(persistence_timeout).
    type: raw
  persistence_engine:
    description:
      - V(sip) keeps the calls of SIP together, V(none) does without. V(sip) needs udp and O(persistence_timeout).
    type: str
  one_packet:
    description:
      - Whether every packet is scheduled on its own. For udp and firewall marks only.
    type: raw
"""
