#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_tunnel
short_description: Receive what an IPVS director sends through a tunnel
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Makes, on a backend, the tunnel devices that unpack what a director sends to servers with O(ignore:forward=tun), one
    or many in one task, changes them in place and removes them. For GUE it also opens the UDP ports.
  - A director packs the packets itself and needs no device. Answers do not go back through the tunnel.
  - Each device it makes carries the alias C(l4lb.ipvs), which C(ip link) shows, and only devices that carry it are ever
    changed or removed.
  - The VIP is held on such a device, or on any other, with M(l4lb.ipvs.ipvs_vip). For VIPs of servers with
    O(ignore:forward=dr) it also makes dummy devices, which receive nothing and which no other host asks for addresses.
  - Nothing is persistent. Devices made with this module are gone after a reboot.
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
options:
  tunnels:
    description:
      - The devices, each a dict. Required, unless O(state=absent) with O(purge=owned) removes all of them.
      - C(name) (required) is the name of the device, at most 15 characters. With O(state=absent) it is all that is
        needed. The devices that the kernel makes by itself, such as C(tunl0), C(sit0) and C(gre0), are refused.
      - C(type) (required with O(state=present)) is V(ipip) for IP in IP (protocols 4 and 41), V(gre) for GRE (protocol
        47) or V(gue) for GUE over UDP, as the C(tunnel_type) of the server on the director. A V(gue) device receives IP
        in IP as well, because the kernel unpacks GUE into it. V(dummy) is no tunnel but a place for VIPs, and has no
        other key than C(name).
      - C(local) (required with O(state=present), but for V(dummy)) is the address of this host to which the director
        sends, which is the address of the server there, IPv4 or IPv6.
      - C(remote) is the address of the director, where no other is to be served. Any by default.
      - C(family) is that of the packets inside, V(ipv4), V(ipv6) or V(any), the default. An IPv6 VIP may have servers
        with IPv4 addresses, and the reverse. A V(gre) device takes both, and so only V(any).
      - C(ports) (required with V(gue)) are its UDP ports, a list, as the C(tunnel_port) of the server on the director.
        A port is open on all addresses of the family of C(local). One that takes GUE already is used as it is, reported
        as RV(kept), and never closed.
      - C(checksum) is V(none) (the default), V(csum) or V(remcsum), as the C(tunnel_checksum) of the server on the
        director. A V(gre) device takes packets with a checksum or packets without, never both, so it must be the same
        as there; it has no V(remcsum). A V(gue) device takes all three, whatever is said here.
    type: list
    elements: dict
  state:
    description:
      - V(present) makes the devices and sets them up.
      - V(absent) removes the devices of these names, whatever their attributes, if this module made them, and closes
        the ports that no other one needs.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - What happens to devices that are not listed. V(none) leaves them. V(owned) removes those with the alias of this
        collection, whichever task or role made them.
      - An empty O(tunnels) with O(state=present) and V(owned) is refused if it would remove anything. O(state=absent)
        with V(owned) removes every one, and needs no list.
    type: str
    choices: [none, owned]
    default: none
  purge_interfaces:
    description: The devices that O(purge=owned) looks at, by name. By default all of this collection.
    type: list
    elements: str
  keep_former:
    description:
      - Whether the ports that a listed device had before stay open, for directors that still send there. A later run
        without this option closes them.
      - Means nothing with O(state=absent).
    type: bool
    default: false
requirements:
  - The Python library pyroute2 0.5.14 or newer (package C(python3-pyroute2))
  - For V(gue), the command C(ip) of iproute2
notes:
  - Needs root, or C(CAP_NET_ADMIN); with V(gue) also the right to load C(fou), unless it is loaded.
  - IP in IP and GUE to an IPv4 address are received by a device of the kind C(ipip) with the family V(ipv4), otherwise
    of the kind C(sit), which despite its name takes IPv4 as well; to an IPv6 address, of the kind C(ip6tnl). Their
    kernel modules are C(ipip), C(sit) and C(ip6_tunnel), those for V(gre) C(ip_gre) and C(ip6_gre). V(gue) needs
    C(fou) besides, V(dummy) C(dummy). RV(kernel_modules) names those of a task. They are loaded when
    they are needed, but not in check mode.
  - Reverse path filtering drops what a tunnel unpacks, because the way back to the client is not the tunnel.
    The greater one of C(rp_filter) of the device and of C(all) has to be 0, or 2 if the device holds a VIP. See
    M(l4lb.ipvs.ipvs_sysctl).
  - The kernel tells the devices of a kind apart by C(local) and C(remote), so that there is one for
    each pair. To receive IP in IP and GUE on one address, make one V(gue) tunnel.
  - Only the state of the device and C(ports) are changed in place. Any other difference is refused, because
    removing and making again would take the VIPs along.
  - Removing a device that holds addresses of somebody else is refused. VIPs of M(l4lb.ipvs.ipvs_vip) go with it, and a
    warning names them. Before Linux 5.18 the kernel cannot tell them apart, and both go.
  - If a step fails, nothing is removed. The failed task returns RV(ignore:outcome) with the lists C(applied),
    C(failed) (with its reason) and C(not_attempted).
seealso:
  - module: l4lb.ipvs.ipvs_vip
  - module: l4lb.ipvs.ipvs_sysctl
"""

EXAMPLES = r"""
- name: Receive IP in IP, of both families
  l4lb.ipvs.ipvs_tunnel:
    tunnels:
      - name: ipvs4
        type: ipip
        local: 198.51.100.11

- name: Receive GUE and GRE with checksums, and remove the tunnels of earlier runs
  l4lb.ipvs.ipvs_tunnel:
    tunnels:
      - name: ipvs-gue
        type: gue
        local: 198.51.100.11
        ports: [6080]
      - name: ipvs-gre6
        type: gre
        local: 2001:db8::11
        checksum: csum
    purge: owned

- name: Hold a VIP on the tunnel
  l4lb.ipvs.ipvs_vip:
    address: 192.0.2.10
    interface: ipvs4

- name: Make a place for the VIPs of direct routing
  l4lb.ipvs.ipvs_tunnel:
    tunnels:
      - name: vips
        type: dummy

- name: Take back every device
  l4lb.ipvs.ipvs_tunnel:
    state: absent
    purge: owned
"""

RETURN = r"""
tunnels:
  description: >-
    The tunnels of the task. They feed straight back as O(tunnels) and change nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - name: ipvs4
      type: ipip
      local: 198.51.100.11
kept:
  description: GUE listeners of somebody else that the tunnels use. They are left as they are.
  returned: success
  type: list
  elements: str
  sample:
    - fou port 6080 gue
kernel_modules:
  description: The kernel modules that the tunnels of the task need, loaded or not. Empty with O(state=absent).
  returned: success
  type: list
  elements: str
  sample:
    - sit
operations:
  description: What was changed, or would be in check mode, in the words of C(ip link) and C(ip fou).
  returned: success
  type: list
  elements: str
  sample:
    - add link ipvs4 type sit mode any local 198.51.100.11 remote any up
diff:
  description: The tunnel and dummy devices of this collection before and after, one per line.
  returned: in diff mode
  type: dict
  sample:
    before: ""
    after: |
      ipvs4 type sit mode any local 198.51.100.11 remote any up
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._tunnel_task import body
from ansible_collections.l4lb.ipvs.plugins.module_utils._values import KEEP_FORMER

ARGUMENT_SPEC = {
    "tunnels": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "purge": {"type": "str", "choices": ["none", "owned"], "default": "none"},
    "purge_interfaces": {"type": "list", "elements": "str"},
    **KEEP_FORMER,
}


def main() -> None:
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
