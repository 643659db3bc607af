#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_host_info
short_description: What a host offers to a director or backend, and what on it would break one
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Reads, without changing or loading anything, what a host needs to be a director or a backend (kernel modules, tools,
    addresses, default routes, sysctls) and what else on it has a say in balanced traffic (filter and NAT rules of
    others, other programs that write the IPVS table, the address it is managed through).
  - The filters P(l4lb.ipvs.director_plan#filter) and P(l4lb.ipvs.backend_plan#filter) make decisions of it, for the
    roles P(l4lb.ipvs.ipvs_director#role) and P(l4lb.ipvs.ipvs_backend#role).
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing is changed.
  idempotent:
    support: full
requirements:
  - ip (iproute2); nft where there are nftables rules
seealso:
  - plugin: l4lb.ipvs.director_plan
    plugin_type: filter
  - plugin: l4lb.ipvs.backend_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read what the host has
  l4lb.ipvs.ipvs_host_info:
  register: host
"""

RETURN = r"""
modules:
  description: State of each kernel module that load balancing may need and this kernel has, V(loaded) or V(loadable).
  returned: success
  type: dict
  sample:
    ip_vs: loaded
    ip_vs_mh: loadable
tools:
  description: >-
    Whether C(ipvsadm), C(nft), C(conntrack) and, for the Python that runs Ansible's modules, C(pyroute2) are installed.
  returned: success
  type: dict
  sample:
    ipvsadm: true
    nft: true
    conntrack: true
    pyroute2: true
interfaces:
  description:
    - The network interfaces with their addresses, link-local ones left out. C(kind) is that of C(ip link add type),
      empty for hardware; C(alias) that of C(ip link set alias). An address is C(quiet) with the scope host, or in IPv6
      with C(nodad), as backends hold their VIPs.
  returned: success
  type: list
  elements: dict
  sample:
    - name: eth1
      kind: ""
      alias: ""
      mtu: 1500
      addresses:
        - address: 198.51.100.10
          prefix: 24
          quiet: false
gateways:
  description: The next hops of the default routes. C(protocol) is who made the route, V(ra) for a router advertisement.
  returned: success
  type: list
  elements: dict
  sample:
    - family: ipv4
      address: 198.51.100.1
      interface: eth1
      protocol: static
rules:
  description:
    - The routing rules of this collection, with C(family), C(priority), C(table), C(from), C(ip_protocol),
      C(source_port) and C(fwmark); what a rule does not ask for is empty or 0.
  returned: success
  type: list
  elements: dict
routes:
  description: The routes of this collection, with C(family), C(table), C(to), C(type) and C(via).
  returned: success
  type: list
  elements: dict
tables:
  description: The names of the nftables tables of this collection, also of those that are dormant.
  returned: success
  type: list
  elements: str
  sample:
    - l4lb_mss
sysctls:
  description:
    - The running values of C(arp_ignore), C(arp_announce), C(rp_filter) and IPv6 C(accept_ra) of every interface, and
      of C(net.ipv4.vs.conntrack) where IPVS is loaded.
  returned: success
  type: dict
  sample:
    net.ipv4.conf.all.arp_ignore: 1
boot:
  description:
    - The C(value) that C(net.ipv4.conf.all.rp_filter) gets at boot by the files of sysctl.d(5), and the C(file) that
      says so. Left out where no file does.
  returned: success
  type: dict
  sample:
    net.ipv4.conf.all.rp_filter:
      value: "2"
      file: /usr/lib/sysctl.d/50-default.conf
files:
  description: The files of C(/etc/sysctl.d) and C(/etc/modules-load.d) that the roles of this collection wrote.
  returned: success
  type: list
  elements: str
  sample:
    - /etc/sysctl.d/99-zz-l4lb-ipvs-backend.conf
firewall:
  description:
    - The filter chains of the hooks prerouting, input, forward and output that may drop something (nftables, and the
      table filter of C(iptables-legacy)), with C(family), C(table), C(chain), C(hook), C(policy), C(rules) and by name
      the C(chains) that these lead to. Tables of this collection are left out, and those that are dormant.
    - A rule has C(matches), as those of RV(source_nat), a C(verdict), of V(accept), V(drop) (or reject), V(return),
      V(jump) and V(goto), the C(target) of the last two, and the C(handle) that C(nft -a) shows, or the number of the
      rule that C(iptables-legacy -L --line-numbers) shows.
    - A chain with more than 5,000 rules is one rule whose match is unknown.
  returned: success
  type: list
  elements: dict
source_nat:
  description:
    - Rules of the postrouting hook that change sources (masquerade, snat), with C(family), C(table), C(chain) and
      C(matches), what a packet must be to meet them. Tables of this collection are left out.
  returned: success
  type: list
  elements: dict
owners:
  description:
    - Other programs that write the IPVS table of this network namespace, C(kube-proxy) and each C(keepalived) that
      root runs, by the virtual servers of the file it was started with and of those that this includes.
    - Of these files only regular ones are read, 64 MiB in all. A C(keepalived) with more counts as well.
  returned: success
  type: list
  elements: str
  sample:
    - keepalived (virtual_server in /etc/keepalived/keepalived.conf)
forwards:
  description: The ways in which the servers of the live IPVS table are reached, of V(nat), V(dr) and V(tun).
  returned: success
  type: list
  elements: str
  sample:
    - nat
connection:
  description: The address and port of this host through which Ansible is connected by SSH; null without SSH.
  returned: success
  type: dict
  sample:
    address: 198.51.100.10
    port: 22
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._host import host_info
from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module


def main() -> None:
    run_module({}, host_info, writes=False)


if __name__ == "__main__":
    main()
