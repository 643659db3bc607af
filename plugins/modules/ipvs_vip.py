#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_vip
short_description: Hold the address of a virtual service (VIP) on an interface
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Adds VIPs to interfaces, changes them in place and removes them, one or many in one task.
  - Each address it adds carries the protocol number 76, which recent versions of iproute2 show, and only addresses that
    carry it are ever changed or removed. An address that is already the host's own, on any interface, is left as it is
    and reported as RV(kept), not added, not removed and not announced.
  - Before an IPv4 address is added, the segment is asked whether another host holds it. For an IPv6 address the kernel
    does that itself, and the module waits for the answer. A held address fails the task.
  - Nothing is persistent. Addresses added with this module are gone after a reboot.
extends_documentation_fragment:
  - l4lb.ipvs.assume_prepared
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
options:
  address:
    description:
      - The address, IPv4 or IPv6. Host names are not resolved.
      - Required, unless O(vips) is given.
    type: str
  interface:
    description:
      - The interface that holds the address.
      - Required with O(state=present). With O(state=absent) and without it, the address is removed wherever it is.
      - On a loopback interface the prefix must be 32 or 128, since the host would answer for the whole network.
      - An interface that belongs to a bridge, a bond or a team is refused. One that is down is accepted with a warning,
        and neither probed nor announced on.
      - On a loopback or dummy interface of a host whose other interfaces have C(arp_ignore) 0, which would answer ARP
        for the address, an IPv4 address is accepted with a warning.
    type: str
  prefix:
    description:
      - The prefix length, an integer in the range 1 to 32 for IPv4, 1 to 128 for IPv6.
      - By default 32 or 128, an address without a network. With a shorter prefix the kernel also adds a route to the
        network, unless O(noprefixroute).
      - A changed prefix is another address for the kernel in IPv4, so the new one is added before the old one is
        removed. In IPv6 it cannot be changed, and the task is refused.
    type: raw
  broadcast:
    description:
      - The IPv4 broadcast address, V(+) for the last address of the network. None by default.
    type: str
  scope:
    description:
      - One of V(global) (the default), V(link) and V(host). For IPv4. V(host) keeps the kernel from choosing the
        address as a source for other hosts.
    type: str
  label:
    description:
      - The IPv4 label, at most 15 characters that begin with the name of the interface, as in C(eth0:vip).
    type: str
  nodad:
    description:
      - Whether to use an IPv6 address without asking whether another host has it. The default is V(false). On an
        interface with neighbours this is accepted with a warning.
    type: raw
  preferred_lifetime:
    description:
      - V(0) makes the address deprecated, so that IPv6 never chooses it as a source, or V(forever), the default.
      - The address itself stays forever. The kernel does not show a finite time for such an IPv4 address, so that a
        second run could not tell what it is, and so none is taken.
    type: raw
  noprefixroute:
    description:
      - Whether to leave out the route to the network of the address. The default is V(false).
    type: raw
  vips:
    description:
      - Many addresses, each a dict with the options O(address), O(interface), O(prefix), O(broadcast), O(scope),
        O(label), O(nodad), O(preferred_lifetime) and O(noprefixroute), instead of those options.
      - An address may be listed once, on whatever interface.
    type: list
    elements: dict
  probe:
    description:
      - Whether to ask the segment before an IPv4 address is added. Three ARP probes (RFC 5227) go out half a second
        apart, for all addresses of the task together. The task is refused with the MAC of whoever answers.
      - The default is V(true). There is no probe on interfaces without ARP, such as loopback, dummy and tunnels, and in
        check mode.
    type: raw
  announce:
    description:
      - Whether to tell the segment of a new address, by gratuitous ARP or by an unsolicited neighbour advertisement.
      - The default is V(true). There is no announcement on interfaces without ARP, such as loopback, dummy and tunnels.
    type: raw
  state:
    description:
      - V(present) holds the addresses with these attributes and the defaults for those not given. One that this module
        added to another interface or with another prefix moves, the new one being added before the old one is removed,
        unless O(keep_former).
      - V(absent) removes them, whatever their attributes, if this module added them.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - What happens to addresses that are not listed. V(none) leaves them. V(owned) removes those that carry the
        protocol number of this collection, whichever task or role added them.
      - An empty O(vips) with O(state=present) and V(owned) is refused if it would remove anything. O(state=absent) with
        V(owned) removes every one, and needs no list.
    type: str
    choices: [none, owned]
    default: none
  purge_interfaces:
    description:
      - The interfaces at which O(purge=owned) looks. All by default.
    type: list
    elements: str
  purge_quiet:
    description:
      - Whether O(purge=owned) looks at quiet addresses alone, those with O(scope=host) or O(nodad=true), as backends
        hold their VIPs. So a host's two roles, director and backend, leave each other's VIPs alone, also on one
        interface.
    type: bool
    default: false
  keep_former:
    description:
      - Whether an address that moves stays where it was as well, for whoever still sends to it there. A later run
        without this option removes it there.
      - Means nothing with O(state=absent).
    type: bool
    default: false
requirements:
  - The Python library pyroute2 0.5.14 or newer (package C(python3-pyroute2))
notes:
  - Needs root, or C(CAP_NET_ADMIN) and C(CAP_NET_RAW).
  - Linux keeps the protocol number of an address since 5.18. On an older kernel an address that is already there is
    left as it is, O(purge) removes nothing, and O(state=absent) removes exactly the address, prefix and interface it
    is given. The module warns of it.
  - Network services can remove what they do not know. systemd-networkd does so with addresses when it restarts, as
    C(netplan apply) and updates of its package make it do, on each interface that it manages unless the interface's
    C(.network) file sets C(KeepConfiguration=static). The module warns where it does not.
  - In IPv4 the kernel changes only O(preferred_lifetime) in place; in IPv6 also O(nodad) and O(noprefixroute). Any
    other difference is refused, because removing and adding again would cut traffic.
  - Removing the address through which the task is connected by SSH is refused, and so is removing an IPv4 address whose
    secondary addresses the kernel would remove with it.
  - If a step fails, nothing is removed. The failed task returns RV(ignore:outcome) with the lists C(applied),
    C(failed) (each with its reason) and C(not_attempted).
"""

EXAMPLES = r"""
- name: Hold a VIP
  l4lb.ipvs.ipvs_vip:
    address: 192.0.2.10
    interface: eth0

- name: Hold a VIP in the network of the interface
  l4lb.ipvs.ipvs_vip:
    address: 192.0.2.10
    prefix: 24
    broadcast: +
    interface: eth0
    label: eth0:vip

- name: Hold these VIPs and none that an earlier run added
  l4lb.ipvs.ipvs_vip:
    vips:
      - address: 192.0.2.10
        interface: eth0
      - address: 2001:db8::10
        interface: eth0
        preferred_lifetime: 0
    purge: owned

- name: Hold a VIP on a backend with direct routing
  l4lb.ipvs.ipvs_vip:
    address: 192.0.2.10
    interface: lo
    scope: host

- name: Take back every VIP
  l4lb.ipvs.ipvs_vip:
    state: absent
    purge: owned
"""

RETURN = r"""
vips:
  description: >-
    The addresses of the task with the attributes they have or would have. They feed straight back as O(vips) and change
    nothing. With O(state=absent), the addresses as the task names them.
  returned: success
  type: list
  elements: dict
  sample:
    - address: 192.0.2.10
      prefix: 32
      interface: eth0
      scope: global
kept:
  description: Addresses of the task that the host has from somebody else, as found. They are left as they are.
  returned: success
  type: list
  elements: dict
  sample:
    - address: 198.51.100.10
      prefix: 24
      interface: eth0
      scope: global
unlisted:
  description: >-
    The addresses with the protocol number of this collection that the task does not name, as found. O(purge=owned)
    removes them.
  returned: success
  type: list
  elements: dict
  sample: []
operations:
  description: What was changed, or would be in check mode, in the words of C(ip address).
  returned: success
  type: list
  elements: str
  sample:
    - add 192.0.2.10/32 dev eth0 scope global
diff:
  description: The addresses of this collection before and after, one per line.
  returned: in diff mode
  type: dict
  sample:
    before: ""
    after: |
      192.0.2.10/32 dev eth0 scope global
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import ASSUME_PREPARED, run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._values import KEEP_FORMER
from ansible_collections.l4lb.ipvs.plugins.module_utils._vip_task import body

ARGUMENT_SPEC = {
    **ASSUME_PREPARED,
    "address": {"type": "str"},
    "interface": {"type": "str"},
    "prefix": {"type": "raw"},
    "broadcast": {"type": "str"},
    "scope": {"type": "str"},
    "label": {"type": "str"},
    "nodad": {"type": "raw"},
    "preferred_lifetime": {"type": "raw"},
    "noprefixroute": {"type": "raw"},
    "vips": {"type": "list", "elements": "dict"},
    "probe": {"type": "raw"},
    "announce": {"type": "raw"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "purge": {"type": "str", "choices": ["none", "owned"], "default": "none"},
    "purge_interfaces": {"type": "list", "elements": "str"},
    "purge_quiet": {"type": "bool", "default": False},
    **KEEP_FORMER,
}


def main() -> None:
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
