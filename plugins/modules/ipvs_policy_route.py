#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_policy_route
short_description: Lead the answers of a NAT backend back through its director
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Holds, on a backend, routing rules together with the routes of the tables they look up, one or many in one task,
    changes routes in place, and removes both. Host routes of the main table, which need no rule, are held as well.
  - Each rule and route it adds carries the protocol number 76, which C(ip rule) and C(ip route) show, and only those
    that carry it are ever changed or removed. A rule or route that somebody else has already is left as it is and
    reported as RV(kept).
  - Nothing is persistent. What is added with this module is gone after a reboot.
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
options:
  policies:
    description:
      - The policies, each a dict of one rule and the routes of its table. Required, unless O(state=absent) with
        O(purge=owned) removes all of them.
      - C(name) is a label for humans and makes no difference.
      - C(family) is V(ipv4) or V(ipv6). Required only where no address tells it.
      - C(table) is the number of the table, by default 7600, or V(main) for routes without a rule. 0 and 253 to 255 are
        refused, and names of tables are not looked up. 7600 to 7699 are the range of this collection. Several policies
        may share a table, and then its routes too.
      - C(priority) is that of the rule, 1 to 32765. By default it is the number of the table if that is in the range of
        this collection, otherwise 7600. A priority at which somebody else has a rule is refused.
      - C(from), C(to), C(iif), C(ip_protocol) (V(tcp), V(udp) or V(sctp)), C(source_port), C(destination_port) (a port
        or a range such as V(8000-8099)) and C(fwmark) with C(fwmask) (by default all bits) say which packets look up
        the table. At least one of them is required, for a rule without any would take every packet. Networks must have
        no bits set beyond their prefix length. C(iif) must be there, although the kernel takes any name.
      - C(routes) (required with O(state=present)) are the routes of the table, each a dict of C(to) (by default
        every address), C(type) (V(unicast) by default, or V(blackhole), V(unreachable) or V(prohibit)), C(via) (a
        neighbour of this host), C(device), C(source) (an address of this host) and C(metric). A V(unicast) route needs
        C(via) or C(device).
      - C(direct) is a list of networks that stay direct. For each the table gets a route of the type C(throw), upon
        which the kernel goes on to the next rule, and so to the main table.
    type: list
    elements: dict
  force:
    description:
      - Whether to accept a policy that takes the answers to the client that the task is connected from. The default is
        V(false), because the connection is lost if the new way does not work.
      - A rule takes them if it is about the address and port that the task is connected to (as a bare C(from) is), and
        the client is not in C(direct). A route of the main table takes them if the client is in its C(to).
    type: raw
  state:
    description:
      - V(present) adds the rules and routes, and changes routes with the same table, destination and metric in place.
        Routes come before the rules that lead to them.
      - V(absent) removes the rules as they are listed, and the routes of a table with the last of its rules, as far as
        this module added them. Of the table V(main) it removes the routes that are listed.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - What happens to rules and routes that are not listed. V(none) leaves them. V(owned) removes those that carry the
        protocol number of this collection, whichever task or role added them, after the new ones are there.
      - A rule cannot be changed. One that differs in anything is another, and the old one goes only with V(owned).
      - An empty O(policies) with O(state=present) and V(owned) is refused if it would remove anything. O(state=absent)
        with V(owned) removes every one, and needs no list.
    type: str
    choices: [none, owned]
    default: none
requirements:
  - The Python library pyroute2 0.5.14 or newer (package C(python3-pyroute2))
notes:
  - Needs root, or C(CAP_NET_ADMIN).
  - Rules by protocol and port need Linux 4.17.
  - A default route of the main table is refused. It belongs to the configuration of the host.
  - With C(rp_filter) 1 the kernel looks for the way back without the mark, and on some versions without the port, and
    drops requests that come in where only such a rule would lead. The module warns of it; with V(2) there is no such
    problem. See M(l4lb.ipvs.ipvs_sysctl).
  - Network services can remove what they do not know. systemd-networkd does so when it restarts, unless
    C(ManageForeignRoutes) and C(ManageForeignRoutingPolicyRules) are off. The module warns where it runs and they are
    not.
  - If a step fails, nothing is removed. The failed task returns RV(ignore:outcome) with the lists C(applied),
    C(failed) (with its reason) and C(not_attempted).
seealso:
  - module: l4lb.ipvs.ipvs_snat
  - module: l4lb.ipvs.ipvs_sysctl
"""

EXAMPLES = r"""
- name: Send the answers of a service back through the director
  l4lb.ipvs.ipvs_policy_route:
    policies:
      - from: 198.51.100.21
        ip_protocol: tcp
        source_port: 8443
        routes:
          - via: 198.51.100.1

- name: Send everything from a second address back through the director, except to the network of the office
  l4lb.ipvs.ipvs_policy_route:
    policies:
      - name: answers
        from: 198.51.100.22
        table: 7601
        routes:
          - via: 198.51.100.1
            device: eth1
        direct: [203.0.113.0/24]
    purge: owned

- name: Reach one client through the director, whatever the source
  l4lb.ipvs.ipvs_policy_route:
    policies:
      - table: main
        routes:
          - to: 192.0.2.1
            via: 198.51.100.1
            device: eth1

- name: Take back every rule and route
  l4lb.ipvs.ipvs_policy_route:
    state: absent
    purge: owned
"""

RETURN = r"""
policies:
  description: The policies of the task. They feed straight back as O(policies) and change nothing.
  returned: success
  type: list
  elements: dict
  sample:
    - family: ipv4
      table: 7600
      priority: 7600
      from: 198.51.100.21/32
      ip_protocol: tcp
      source_port: "8443"
      routes:
        - to: 0.0.0.0/0
          via: 198.51.100.1
kept:
  description: Rules and routes of the task that the host has from somebody else. They are left as they are.
  returned: success
  type: list
  elements: str
  sample:
    - route 192.0.2.1 via 198.51.100.1 dev eth1 table main
operations:
  description: What was changed, or would be in check mode, in the words of C(ip rule) and C(ip route).
  returned: success
  type: list
  elements: str
  sample:
    - add route default via 198.51.100.1 table 7600
    - add rule from 198.51.100.21 ipproto tcp sport 8443 lookup 7600 priority 7600
diff:
  description: The rules and routes of this collection before and after, one per line.
  returned: in diff mode
  type: dict
  sample:
    before: ""
    after: |
      route default via 198.51.100.1 dev eth0 table 7600
      rule from 198.51.100.21 ipproto tcp sport 8443 lookup 7600 priority 7600
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._route_task import body

ARGUMENT_SPEC = {
    "policies": {"type": "list", "elements": "dict"},
    "force": {"type": "raw"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "purge": {"type": "str", "choices": ["none", "owned"], "default": "none"},
}


def main() -> None:
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
