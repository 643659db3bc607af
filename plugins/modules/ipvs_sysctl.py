#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_sysctl
short_description: Set the kernel parameters of directors and backends
version_added: 0.1.0
description:
  - Sets kernel parameters (sysctls), many in one task, now and for the next boot.
  - It knows the parameters that a director or a backend needs, listed under O(values), with what each of them may hold.
    The kernel itself takes nearly any number for most of them. Every other key is refused.
  - Everything is validated, the live values are read and the next boot is worked out before anything is written.
  - Then the drop-in of sysctl.d(5) is prepared, the running values are written and read back, and the drop-in is put
    in place. A read-only or full C(/etc) is found before the kernel is changed, and a value that the kernel does not
    take leaves the old drop-in as it was.
options:
  values:
    description:
      - Keys and their values, such as C(net.ipv4.vs.conntrack) and V(1). Required and not empty with O(state=present).
      - Both separators of sysctl.d(5) work. With dots, write the dots of an interface as slashes, as in
        C(net.ipv4.conf.eth0/100.rp_filter). An C(*) below stands for an interface, V(all) or V(default).
      - C(net.ipv4.ip_forward) 0..1. The same variable as C(net.ipv4.conf.all.forwarding), so give one of them.
      - C(net.ipv4.conf.*.forwarding) 0..1.
      - C(net.ipv4.conf.*.send_redirects) 0..1.
      - C(net.ipv4.conf.*.accept_redirects) 0..1.
      - C(net.ipv4.conf.*.secure_redirects) 0..1.
      - C(net.ipv4.conf.*.arp_ignore) 0..3 or 8.
      - C(net.ipv4.conf.*.arp_announce) 0..2.
      - C(net.ipv4.conf.*.arp_filter) 0..1.
      - C(net.ipv4.conf.*.accept_local) 0..1.
      - C(net.ipv4.conf.*.rp_filter) 0..2.
      - C(net.ipv4.conf.*.src_valid_mark) 0..1.
      - C(net.ipv6.conf.*.forwarding) 0..1.
      - C(net.ipv6.conf.*.accept_ra) 0..2. With forwarding, only V(2) accepts router advertisements.
      - C(net.ipv6.conf.*.accept_redirects) 0..1.
      - C(net.netfilter.nf_conntrack_max) 0..2147483647.
      - C(net.netfilter.nf_conntrack_tcp_be_liberal) 0..1.
      - C(net.netfilter.nf_conntrack_tcp_loose) 0..1.
      - C(net.netfilter.nf_conntrack_tcp_timeout_established) 0..2147483 seconds.
      - C(net.netfilter.nf_conntrack_udp_timeout) 0..2147483 seconds.
      - C(net.netfilter.nf_conntrack_udp_timeout_stream) 0..2147483 seconds.
      - C(net.ipv4.vs.am_droprate) 0..2147483647. In mode 3 one packet of so many is dropped.
      - C(net.ipv4.vs.amemthresh) 0..2147483647 pages.
      - C(net.ipv4.vs.backup_only) 0..1.
      - C(net.ipv4.vs.cache_bypass) 0..1.
      - C(net.ipv4.vs.conn_lfactor) -8..8.
      - C(net.ipv4.vs.conn_max) 0..1073741824.
      - C(net.ipv4.vs.conn_reuse_mode) 0..3.
      - C(net.ipv4.vs.conntrack) 0..1. Needed for source NAT of what IPVS forwards.
      - C(net.ipv4.vs.debug_level) 0..12. Only in kernels built for it.
      - C(net.ipv4.vs.drop_entry) 0..3. The kernel moves by itself between 1 and 2, which count as equal.
      - C(net.ipv4.vs.drop_packet) 0..3. Likewise.
      - C(net.ipv4.vs.est_cpulist) A list of processors such as V(0-3,8). An empty string stops estimation.
      - C(net.ipv4.vs.est_nice) -20..19.
      - C(net.ipv4.vs.expire_nodest_conn) 0..1.
      - C(net.ipv4.vs.expire_quiescent_template) 0..1.
      - C(net.ipv4.vs.ignore_tunneled) 0..1.
      - C(net.ipv4.vs.lblc_expiration) 0..2147483 seconds. Comes with the module ip_vs_lblc.
      - C(net.ipv4.vs.lblcr_expiration) 0..2147483 seconds. Comes with the module ip_vs_lblcr.
      - C(net.ipv4.vs.nat_icmp_send) 0..1.
      - C(net.ipv4.vs.pmtu_disc) 0..1.
      - C(net.ipv4.vs.run_estimation) 0..1.
      - C(net.ipv4.vs.schedule_icmp) 0..1.
      - C(net.ipv4.vs.secure_tcp) 0..3. The kernel moves by itself between 1 and 2, which count as equal.
      - C(net.ipv4.vs.sloppy_sctp) 0..1.
      - C(net.ipv4.vs.sloppy_tcp) 0..1.
      - C(net.ipv4.vs.snat_reroute) 0..1.
      - C(net.ipv4.vs.svc_lfactor) -8..8.
      - C(net.ipv4.vs.sync_persist_mode) 0..1.
      - C(net.ipv4.vs.sync_ports) 1, 2, 4, 8, 16, 32 or 64.
      - C(net.ipv4.vs.sync_qlen_max) 0..2147483647.
      - C(net.ipv4.vs.sync_refresh_period) 0..2147483 seconds.
      - C(net.ipv4.vs.sync_retries) 0..3.
      - C(net.ipv4.vs.sync_sock_size) 0..2147483647 bytes.
      - C(net.ipv4.vs.sync_threshold) Two integers such as V(3 50), the first less than the second, or the second 0.
      - C(net.ipv4.vs.sync_version) 0..1.
      - Integers are decimal. Booleans, hexadecimal and octal numbers are refused.
      - C(rp_filter) V(1) on C(tunl0), C(gre0) or C(ip6tnl0) is refused, there or through V(all), because it drops the
        traffic that a director tunnels to a backend.
    type: raw
  name:
    description:
      - Name of the drop-in, which is C(/etc/sysctl.d/99-zz-NAME.conf). 1..64 letters, digits, C(_) or C(-), beginning
        with a letter or digit.
      - The file belongs to this task. With O(state=present) its whole content is replaced, so a key that is no longer
        in O(values) leaves it. Give each task of a host its own name.
      - Not used with O(netns).
    type: str
    default: l4lb-ipvs
  state:
    description:
      - With V(present), the running values and the drop-in are as O(values) says.
      - With V(absent), the keys of O(values), or all keys if O(values) is not given, leave the drop-in, and a drop-in
        without keys is removed. Nothing is done to the running values, because what they were before is not known.
        Refused with O(netns).
    type: str
    choices:
      - present
      - absent
    default: present
extends_documentation_fragment:
  - l4lb.ipvs.assume_prepared
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
notes:
  - With O(netns) only the running values of that network namespace are written. There is no drop-in for a namespace.
  - Keys are written in one order. IPv6 C(accept_ra) comes first, because forwarding removes default routes where it
    is not V(2); then forwarding, because turning it on or off resets other keys; then C(conf.all), C(conf.default),
    and interfaces. What a write resets beyond O(values) does not show in the diff.
  - A value that another file of sysctl.d(5) undoes at the next boot is refused before anything is written, in check
    mode too, and that file is named. The rules are those of systemd-sysctl(8). Files are sorted by name, one masks
    those of the same name in later directories, the last assignment counts, and a glob leaves out a key that has a line
    of its own.
  - Another value in C(/etc/sysctl.conf) is a warning, because only C(sysctl --system) reads that file last. Where
    C(/etc/sysctl.d/99-sysctl.conf) is a link to it, the boot reads it before the drop-in.
  - What other programs set after that, such as ufw or tuned, is not looked at.
  - A key this kernel does not have is refused and named, with the kernel module to load if one is missing. In check
    mode a module that is only not loaded, or an interface that is not there, is a warning and the key counts as
    changed. This module loads no kernel module. For the next boot, list it in C(/etc/modules-load.d).
  - A value of an interface that is less than V(all)'s has no effect for C(send_redirects), C(secure_redirects),
    C(arp_ignore), C(arp_announce), C(arp_filter), C(accept_local), C(rp_filter) and C(src_valid_mark), and V(all) has
    none for IPv6 C(accept_ra) and C(accept_redirects). That is a warning.
  - If a write fails, the values written before it stay, and RV(applied) lists them.
seealso:
  - module: ansible.posix.sysctl
    description: One key of any kind.
  - name: sysctl.d(5)
    description: The format and order of the files.
    link: https://www.freedesktop.org/software/systemd/man/latest/sysctl.d.html
  - name: IPVS sysctls
    description: What the keys under C(net.ipv4.vs) mean.
    link: https://docs.kernel.org/networking/ipvs-sysctl.html
author:
  - The l4lb.ipvs authors (@l4lb)
"""

EXAMPLES = r"""
- name: Prepare a NAT director whose clients and servers share one network
  l4lb.ipvs.ipvs_sysctl:
    name: l4lb-ipvs-director
    values:
      net.ipv4.ip_forward: 1
      net.ipv4.vs.conntrack: 1
      net.ipv4.conf.all.send_redirects: 0
      net.ipv4.conf.default.send_redirects: 0
      net.ipv4.conf.eth0.send_redirects: 0

- name: Prepare a DR backend, before it has the VIP
  l4lb.ipvs.ipvs_sysctl:
    name: l4lb-ipvs-backend
    values:
      net.ipv4.conf.all.arp_ignore: 1
      net.ipv4.conf.all.arp_announce: 2

- name: Loosen the reverse path filter on a VLAN interface
  l4lb.ipvs.ipvs_sysctl:
    name: l4lb-ipvs-vlan
    values:
      net.ipv4.conf.eth0/100.rp_filter: 2

- name: Set running values in a network namespace
  l4lb.ipvs.ipvs_sysctl:
    netns: blue
    values:
      net.ipv4.ip_forward: 1

- name: Take back what the next boot would set
  l4lb.ipvs.ipvs_sysctl:
    name: l4lb-ipvs-backend
    state: absent
"""

RETURN = r"""
values:
  description:
    - The keys and values as they are after the run (in check mode, would be).
    - Keys and values are in one spelling, and as O(values) of another task they change nothing.
    - In a template write C(result['values']), since C(result.values) is a method of every dictionary.
  returned: success with O(state=present)
  type: dict
  sample:
    net.ipv4.ip_forward: 1
    net.ipv4.vs.sync_threshold: "3 50"
file:
  description: Path of the drop-in. V(none) with O(netns).
  returned: success
  type: str
  sample: /etc/sysctl.d/99-zz-l4lb-ipvs.conf
applied:
  description: Keys that had been written when the kernel refused a value or did not hold it.
  returned: when a running value could not be set
  type: list
  elements: str
  sample:
    - net.ipv4.ip_forward
diff:
  description: The running values, and the content of the drop-in, before and after.
  returned: in diff mode
  type: list
  elements: dict
  contains:
    before_header:
      description: What this is about, V(running values) or the path of the drop-in.
      type: str
      returned: always
    after_header:
      description: The same as RV(diff[].before_header).
      type: str
      returned: always
    before:
      description: Lines as sysctl.d(5) has them.
      type: str
      returned: always
    after:
      description: Lines as sysctl.d(5) has them.
      type: str
      returned: always
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import ASSUME_PREPARED, run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._sysctl import body

ARGUMENT_SPEC = {
    **ASSUME_PREPARED,
    "values": {"type": "raw"},
    "name": {"type": "str", "default": "l4lb-ipvs"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
