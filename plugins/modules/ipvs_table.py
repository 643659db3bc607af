#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_table
short_description: Manage many IPVS virtual services with their servers in one task
version_added: 0.1.0
description:
  - Makes the listed virtual services true in the kernel's IPVS table, with their servers, over netlink and without
    C(ipvsadm). One reading, one plan, batched writes.
  - A listed service is the whole truth about its options and about the servers it lists. What is not given is the
    default, not the live value; that is the difference from M(l4lb.ipvs.ipvs_service) and M(l4lb.ipvs.ipvs_server).
  - Services and servers are changed in place and never removed and made again. Additions come first, then changes,
    then weights that go to 0, then removals; and if one step fails, nothing is removed.
  - Where another writer adds or removes a thing between the reading and the writing, the task reads and plans again,
    and fails when that happens three times. What only one of two readings shows is never removed.
  - The servers of a service are added in the order of their family, address and port, on every director alike. The
    scheduler V(sh) depends on it.
extends_documentation_fragment:
  - l4lb.ipvs.assume_prepared
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
  - l4lb.ipvs.table
  - l4lb.ipvs.table.force
options:
  services:
    description:
      - A list of dictionaries. Every problem in it is told at once, each with its path, and nothing is written.
      - "What names a service: C(address), C(port) and C(protocol) (V(tcp) by default), or C(fwmark) and C(family)."
      - "How it balances: C(scheduler) (V(wlc) by default), C(scheduler_flags), C(persistence_timeout) (0),
        C(persistence_netmask), C(persistence_engine) (V(none)) and C(one_packet) (false), as in
        M(l4lb.ipvs.ipvs_service). While C(scheduler) is changed, for some milliseconds, the kernel refuses new
        connections to the service."
      - "C(name): a label for humans. It never reaches the kernel and makes no difference."
      - "C(forward): the default of its servers, V(dr) unless given."
      - "C(servers): a list of dictionaries of C(address), C(port) (the service's port by default), C(forward),
        C(weight) (1), C(upper_threshold) (0), C(lower_threshold) (0), C(tunnel_type) (V(ipip)), C(tunnel_port) and
        C(tunnel_checksum) (V(none)), as in M(l4lb.ipvs.ipvs_server)."
      - A service without servers, weights that are all 0, more weight than V(sh) has slots, and a server with a
        loopback address by V(dr) or V(tun) are accepted with a warning.
      - Exactly one of O(services) and O(src) is required.
    type: list
    elements: dict
  src:
    description:
      - The path of a file on the node that lists the services instead of O(services); for tables of thousands, which
        make slow arguments. Its content tells its form. It must be a regular file of 128 MiB at most.
      - "YAML or JSON: the list, or a dictionary with the list under C(services). YAML needs PyYAML on the node, JSON is
        faster. An integer must be written as one: what YAML would take for 80 as well, such as C(0120), C(1:20), C(8_0)
        and C(0x50), is refused. In O(services) Ansible has read such a value by the time the module gets it."
      - "The output of C(ipvsadm -Sn), or other lines of C(-A) and C(-a) for C(ipvsadm -R), with numeric addresses and
        ports, and blanks between options and their values. Each may begin with the name of the program, as in a script.
        C(ipvsadm -Sn) prints no thresholds: lines without C(-x) and C(-y) set those of their servers to 0, with a
        warning where they were not."
      - A line is refused of which C(ipvsadm) would make something else than it seems to say. The mask of C(-M) is
        dotted for IPv4 and stands after the service, C(-6) after C(-f), and C(-r) without a port after the service.
      - A file that lists nothing is refused, because it may have been cut off. Write C([]) where no services are meant.
      - A file is refused that gives a key or, on one line, an option twice, that has another key beside C(services), or
        that is C(ipvsadm)'s and does not end with a newline, for such a file was cut off.
    type: path
  state:
    description:
      - V(absent) removes the listed services together with their servers, whatever their live options and servers are.
        What names a service is enough, C(port=0) without C(persistence_timeout) too.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - What happens to services that are not listed, and to servers that are not listed of services that are. With
        O(state=absent) only V(none) is accepted.
      - V(none) leaves them alone.
      - V(owned) removes those that earlier runs of this module made. What was there before, or was made by another,
        stays; so does a service of ours in which another has put servers. Where other operations come first, it is read
        once more before it goes; the kernel takes along what another puts into it in the milliseconds after.
      - V(all) removes them.
      - What this module adds is recorded in C(/run/l4lb-ipvs) until the next boot, for each network namespace. To
        adopt an identical entry, or to change one, does not make it ours. Before Linux 5.14 a namespace with the inode
        number of one that is gone cannot be told from it.
      - What a task that succeeds finds gone is ours no longer, even if it comes back. A task with V(owned) or V(all)
        looks at the whole table, another one that adds or removes anything at the services it lists.
      - The kernel does not tell who made an entry. One of ours that another removes and makes again between two such
        tasks still counts as ours; so does one that another makes after a task was killed while it was about to add or
        to remove just that, before the next such task.
      - V(owned) and V(all) are refused where another controller is at work in the network namespace, C(kube-proxy) (its
        interface C(kube-ipvs0)) or a C(keepalived) that root started with a configuration of virtual servers.
      - With V(none), a task that changes something there warns of it, reads back what it wrote, and does not look
        again. What the other takes back afterwards, as C(kube-proxy) may whenever it synchronizes, only the next task
        finds out, and makes again.
    type: str
    choices: [none, owned, all]
    default: none
  scope:
    description:
      - Which services the task may touch, by C(networks) (prefixes, such as V(192.0.2.0/24)), C(protocols) and
        C(marks), each a list. A service must match all that are given; a firewall mark has neither network nor
        protocol, and matches C(marks) alone.
      - A purge does not look outside of it, and a listed service outside of it is an error. Without it everything is
        in scope.
    type: dict
  keep_weights:
    description:
      - Whether a server that exists keeps its live weight, whatever its C(weight) here; for sites where something
        else sets weights. RV(kept_weights) tells which. A weight that is set while the task reads back what it wrote
        is no failure. The kernel takes a server's options all at once, so a weight
        that is set while the task changes another option of this server is lost. With O(state=absent) it means
        nothing, and is refused.
    type: bool
    default: false
  not_ready:
    description:
      - Servers that are not to be added, because their hosts are not ready for them, each a dict with C(service) (what
        names the service) and C(server) (its C(address) and C(port)). P(l4lb.ipvs.not_ready_servers#filter) makes this
        list.
      - One that is in the table already stays as it is, and is not removed. RV(not_added) lists the others. A server
        that is not among O(services) makes no difference.
    type: list
    elements: dict
    default: []
  max_removals:
    description:
      - How much a purge may remove, of services and, separately, of servers, as a number or as a share such as V(25%)
        of what is live in scope and, with O(purge=owned), ours. A share always allows 10, but V(0%) nothing.
      - Beyond it the task fails before anything is written, in check mode too, and shows the plan as far as a result
        goes. Where another writer interferes, the task plans up to three times, and each plan is held to it.
      - No share but V(100%) allows a purge the removal of any service where no service is listed, of any server where
        no server is listed, or of the last server of a listed service. Each is likely a mistake.
      - It does not limit O(state=absent), which names what it removes and accepts nothing but the default.
    type: raw
    default: 25%
  allow_actions:
    description:
      - The actions the plan may hold; a weight that goes to 0 is an V(edit_server), and the servers of a service that
        goes are no V(remove_server). A plan with another one fails before anything is written, and is shown.
    type: list
    elements: str
    choices: [add_service, edit_service, remove_service, add_server, edit_server, remove_server]
    default: [add_service, edit_service, remove_service, add_server, edit_server, remove_server]
notes:
  - A result stays small, whatever the table has. It lists 100 operations at most, and RV(counts) counts all of them.
    A diff has 200 lines of services and servers on each side at most. A longer one leaves out the servers that stay as
    they are, and what does not fit is counted. RV(rerouted) alone is never cut, for somebody has to act on each
    address. A task in check mode that lists the services of one network, with O(scope) on that network, shows its part
    of a large plan.
seealso:
  - module: l4lb.ipvs.ipvs_service
  - module: l4lb.ipvs.ipvs_server
  - module: l4lb.ipvs.ipvs_info
author:
  - The l4lb.ipvs authors (@l4lb)
"""

EXAMPLES = r"""
- name: Balance two services
  l4lb.ipvs.ipvs_table:
    services:
      - name: web
        address: 192.0.2.10
        port: 443
        scheduler: mh
        scheduler_flags: [mh-port]
        forward: nat
        servers:
          - {address: 198.51.100.11, port: 8443}
          - {address: 198.51.100.12, port: 8443}
          - {address: 198.51.100.13, port: 8443, weight: 2}
      - name: dns
        address: 192.0.2.10
        port: 53
        protocol: udp
        one_packet: true
        servers:
          - {address: 198.51.100.21}
          - {address: 198.51.100.22}

- name: Make the inventory's services the only ones of ours, in one network
  l4lb.ipvs.ipvs_table:
    services: "{{ ipvs_services }}"
    purge: owned
    scope:
      networks: [192.0.2.0/24]
    max_removals: 10%

# ipvsadm -Sn saves no thresholds, so that those of its servers go to 0
- name: Restore what ipvsadm -Sn saved, without taking anything away
  l4lb.ipvs.ipvs_table:
    src: /root/ipvsadm.rules

- name: Bring back what ipvs_info told yesterday
  l4lb.ipvs.ipvs_table:
    services: "{{ yesterday.services }}"

- name: Remove the services
  l4lb.ipvs.ipvs_table:
    services: "{{ retired_services }}"
    state: absent
"""

RETURN = r"""
counts:
  description: How many operations of each kind the task did, or in check mode would do, or was refused.
  returned: success, or a plan that is refused
  type: dict
  sample: {add_service: 1, add_server: 3}
kept_weights:
  description: A line for each server whose live weight is not the listed one, the first 100 of them.
  returned: O(keep_weights=true)
  type: list
  elements: str
  sample: ["-t 192.0.2.10:443 -r 198.51.100.11:8443 keeps weight 0 (listed: 1)"]
not_added:
  description: The servers of O(not_ready) that were not added, the first 100 of them.
  returned: O(not_ready) is not empty
  type: list
  elements: str
  sample: ["-t 192.0.2.10:80 -r 198.51.100.11:80"]
rerouted:
  description:
    - The addresses of the servers that the task takes from C(nat) or C(tun) to C(dr) or back, all of them however many.
    - Old connections keep their way, and old and new ones can mislead each other. The kernel keeps one route with each
      server, made for the first packet after the change. Made for NAT or a tunnel it has no next hop, and for what is
      sent by C(dr) the director then looks among its neighbours for the VIP itself. That cannot happen while the server
      has a host route by itself, which C(ip route add ADDRESS via ADDRESS) makes.
  returned: success
  type: list
  elements: str
  sample: ["198.51.100.11"]
operations:
  description: The operations in the notation of C(ipvsadm), the first 100 of them.
  returned: success, or a plan that is refused
  type: list
  elements: str
  sample: ["-A -t 192.0.2.10:443 -s mh -b mh-port", "-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"]
outcome:
  description: What became of the operations, the first 100 of each kind.
  returned: when a task fails that may have written
  type: dict
  contains:
    applied:
      description: What the kernel has done.
      returned: always
      type: list
      elements: str
    failed:
      description: What the kernel refused, each with the C(operation) and the C(reason).
      returned: always
      type: list
      elements: dict
    not_attempted:
      description: What was not sent after that. What takes servers from clients waits until all the rest has succeeded.
      returned: always
      type: list
      elements: str
    unknown:
      description: What was sent when the session broke off.
      returned: always
      type: list
      elements: str
differences:
  description:
    - What the kernel said it has done and has not, each with the C(operation) and what was C(found), the first 100.
  returned: when the table read back is not as the kernel said
  type: list
  elements: dict
problems:
  description: What is wrong with the parameters, the first 20 of it.
  returned: when the parameters break a rule
  type: list
  elements: str
"""

from collections.abc import Collection
from functools import cache, partial
from typing import Any

from ansible_collections.l4lb.ipvs.plugins.module_utils import _model, _policy, _tablespec
from ansible_collections.l4lb.ipvs.plugins.module_utils._client import Client, ipvs_loaded
from ansible_collections.l4lb.ipvs.plugins.module_utils._converge import converge, new_register
from ansible_collections.l4lb.ipvs.plugins.module_utils._errors import IpvsError
from ansible_collections.l4lb.ipvs.plugins.module_utils._module import ASSUME_PREPARED, Task, run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._plan import Plan, capped, plan

ARGUMENT_SPEC = {**_tablespec.TABLE, **ASSUME_PREPARED}
SOURCES = ("services", "src")


def read_live(keys: Collection[_model.ServiceKey]) -> _model.Table:
    if not ipvs_loaded():
        return {}
    with Client() as client:
        return client.entries(keys)


def run(task: Task) -> dict[str, Any]:
    listed, policy, commands = _tablespec.parse_table(task, read_live)
    absent = task.params["state"] == "absent"
    if policy.purge != "none":
        from ansible_collections.l4lb.ipvs.plugins.module_utils._owners import refuse_others

        refuse_others()
    keys = listed if policy.purge == "none" else None
    register = cache(partial(new_register, keys))

    def owned() -> _policy.Owned:
        return register().owned if policy.purge == "owned" else _policy.Owned()

    @cache
    def look_around() -> None:
        # most runs change nothing
        from ansible_collections.l4lb.ipvs.plugins.module_utils._owners import warn_of_others

        warn_of_others(task)

    def decide(table: _model.Table) -> Plan:
        made = plan(table, {}, listed) if absent else policy.plan(table, listed, owned())
        added = [operation.key for operation in made.operations if operation.action == "add_service"]
        if added:
            # most runs add none
            from ansible_collections.l4lb.ipvs.plugins.module_utils._management import refuse_capture

            refuse_capture(task, added)
        if made.operations and policy.purge == "none":
            look_around()
        return policy.checked(made, listed, owned())

    def read(client: Client) -> _model.Table:
        return client.table() if keys is None else client.entries(keys)

    result = converge(task, read, decide, register, policy.purge != "none")
    told = result.pop("plan")
    result["counts"] = _policy.counts(told)
    result["rerouted"] = _policy.rerouted(told)
    if commands:
        from ansible_collections.l4lb.ipvs.plugins.module_utils._ipvsadm import forgotten  # most tasks do without it

        warning = forgotten(told.operations)
        if warning:
            task.warn(warning)
    if policy.keep_weights:
        kept = _policy.kept_weights(told.predicted, listed)
        result["kept_weights"] = capped(kept, len(kept))
    if policy.not_ready:
        held = _policy.not_added(told.predicted, listed, policy.not_ready)
        result["not_added"] = capped(held, len(held))
    if policy.purge != "none" and not task.check_mode:
        try:
            register().strike(told.predicted)
        except IpvsError as error:
            error.details.update(result)  # what was done is done
            raise
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, run, mutually_exclusive=[SOURCES], required_one_of=[SOURCES])


if __name__ == "__main__":
    main()
