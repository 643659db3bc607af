#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_server
short_description: Manage one real server of an IPVS virtual service
version_added: 0.1.0
description:
  - Adds, changes or removes one real server of a virtual service in the kernel's IPVS table, over netlink and without
    C(ipvsadm).
  - A server is changed in place and never removed and added again, so that its connections live on.
  - An option that is not given leaves the live value as it is. A new server gets the defaults of C(ipvsadm).
  - For more than a few servers use M(l4lb.ipvs.ipvs_table), which does them all in one task.
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.table
options:
  service:
    description:
      - The virtual service the server belongs to, a dictionary of C(address), C(port) and C(protocol) (V(tcp) by
        default), or of C(fwmark) and C(family), as in M(l4lb.ipvs.ipvs_service).
      - With O(state=present) the service must exist. In check mode a service that does not is taken for one that an
        earlier task makes, with a warning.
    type: dict
    required: true
  address:
    description:
      - The address of the server, IPv4 or IPv6. Host names are not resolved.
      - It is of the service's family, except with O(forward=tun).
      - A loopback address with O(forward=dr) or O(forward=tun) is accepted with a warning. The host serves it
        itself, by whatever listens on the service's address.
    type: str
    required: true
  port:
    description:
      - The port of the server, an integer in the range 0 to 65535. By default the port of the service.
      - With V(dr) and V(tun) it must be the service's port, which these methods do not rewrite, unless the service is
        a firewall mark. V(0) keeps the port of the packet.
    type: raw
  forward:
    description:
      - How packets reach the server, V(nat) (masquerading), V(dr) (direct routing, called gatewaying by C(ipvsadm))
        or V(tun) (tunnelling). A new server has V(dr) by default.
      - A change applies to new connections.
    type: str
  weight:
    description:
      - The server's share, an integer in the range 0 to 2147483647. V(0) lets connections finish and takes no new
        ones. A new server has V(1) by default.
      - With the schedulers V(sh) and V(mh), V(0) refuses the new connections that fall on the server, unless the
        service has V(sh-fallback) or V(mh-fallback); this is warned of.
      - More than 65535 is accepted with a warning, because C(ipvsadm --restore) takes it on Debian and Ubuntu only.
    type: raw
  upper_threshold:
    description:
      - The number of connections at which the server gets no new ones, an integer in the range 0 to 2147483647. V(0)
        is no limit.
    type: raw
  lower_threshold:
    description:
      - The number of connections below which it gets new ones again, not above O(upper_threshold). V(0) is three
        quarters of it.
    type: raw
  tunnel_type:
    description:
      - The encapsulation with O(forward=tun), V(ipip), V(gue) or V(gre). A new tunnel is V(ipip) by default.
    type: str
  tunnel_port:
    description:
      - The UDP port of V(gue), which needs it, an integer in the range 1 to 65535.
    type: raw
  tunnel_checksum:
    description:
      - The checksum of the encapsulation, V(none), V(csum) (V(gue) and V(gre)) or V(remcsum) (V(gue)).
    type: str
  state:
    description:
      - V(absent) removes the server. Its live connections hang until they time out, unless
        C(net.ipv4.vs.expire_nodest_conn) is set; set O(weight=0) first and wait.
      - With V(absent), only O(service), O(address) and O(port) may be given.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: l4lb.ipvs.ipvs_service
  - module: l4lb.ipvs.ipvs_table
  - module: l4lb.ipvs.ipvs_info
author:
  - The l4lb.ipvs authors (@l4lb)
"""

EXAMPLES = r"""
- name: Add a server that is reached by masquerading, on another port
  l4lb.ipvs.ipvs_server:
    service: {address: 192.0.2.10, port: 443, protocol: tcp}
    address: 198.51.100.11
    port: 8443
    forward: nat

- name: Give no new connections to a server
  l4lb.ipvs.ipvs_server:
    service: {address: 192.0.2.10, port: 443}
    address: 198.51.100.11
    port: 8443
    weight: 0

- name: Add an IPv6 server behind a GUE tunnel to a service on a firewall mark
  l4lb.ipvs.ipvs_server:
    service: {fwmark: 7, family: ipv4}
    address: 2001:db8::11
    forward: tun
    tunnel_type: gue
    tunnel_port: 6080

- name: Remove a server
  l4lb.ipvs.ipvs_server:
    service: {address: 192.0.2.10, port: 443}
    address: 198.51.100.11
    port: 8443
    state: absent
"""

RETURN = r"""
service:
  description: What names the server's service.
  returned: success
  type: dict
  sample: {address: 192.0.2.10, port: 443, protocol: tcp}
server:
  description: The server in this module's options, as it is after the task. It feeds straight back and changes nothing.
  returned: O(state=present)
  type: dict
  sample:
    address: 198.51.100.11
    port: 8443
    forward: nat
    weight: 1
    upper_threshold: 0
    lower_threshold: 0
operations:
  description: What the task did, or in check mode would do, in the notation of C(ipvsadm).
  returned: success
  type: list
  elements: str
  sample: ["-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"]
"""

from functools import cache, partial
from typing import Any

from ansible_collections.l4lb.ipvs.plugins.module_utils import _argspec, _model, _text
from ansible_collections.l4lb.ipvs.plugins.module_utils._converge import converge, new_register
from ansible_collections.l4lb.ipvs.plugins.module_utils._errors import Findings, IpvsError
from ansible_collections.l4lb.ipvs.plugins.module_utils._module import Task, run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._plan import Plan, plan

ARGUMENT_SPEC = {**_argspec.SERVER_KEY, **_argspec.SERVER_OPTIONS, **_argspec.STATE}


def run(task: Task) -> dict[str, Any]:
    findings = Findings()
    key, options = _argspec.parse_server(task.params, findings)
    server_key = _model.make_server_key(key, options)

    def decide(found: _model.Table) -> Plan:
        table = found
        if task.params["state"] == "absent":
            return plan(table, {}, unwanted_servers=[(key, server_key)])
        if key not in table:
            table = {key: _model.Entry(_model.make_service(key, {}, None, "", Findings()), {})}
        entry = table[key]
        live = entry.servers.get(server_key)
        server = _model.make_server(key, options, live, _model.DEFAULT_FORWARD, "", findings)
        if _model.refuses_when_quiesced(entry.service, server):
            findings.warning("weight", _model.REFUSES_WHEN_QUIESCED, 0)
        _model.settle(findings, found)
        task.conclude(findings)
        if key not in found:
            missing = f"the service {_model.key_text(key)} does not exist"
            if not task.check_mode:
                raise IpvsError(f"{missing}: make it first, with l4lb.ipvs.ipvs_service")
            task.warn(f"{missing}: planned as if an earlier task had made it")
        return plan(table, {key: _model.Entry(entry.service, {server_key: server})})

    register = cache(partial(new_register, [key])) if task.params["state"] == "absent" else None
    result = converge(task, lambda client: client.entry(key), decide, register)
    predicted = result.pop("plan").predicted
    result["service"] = _text.key_params(key)
    if key in predicted and server_key in predicted[key].servers:
        result["server"] = _text.server_params(predicted[key].servers[server_key])
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
