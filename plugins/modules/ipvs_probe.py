#!/usr/bin/python
# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_probe
short_description: Ask virtual services and tell who answered
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Opens connections to virtual services from the host it runs on, which is a client and no director, and returns who
    answered them.
  - Targets are asked side by side, the connections to one target one after the other, so that a scheduler that takes
    turns can be seen to take them. For a scheduler that looks at open connections they can be held open (C(together)).
  - After 5 failures in a row the rest of a target is given up and counted as C(not attempted).
  - Addresses are never resolved by name service. Nothing on the host is changed.
options:
  targets:
    description:
      - The services to ask.
      - "C(address) (string, required): the address of the service."
      - "C(port) (integer 1..65535, required): its port."
      - "C(protocol) (V(tcp), V(udp) or V(sctp), default V(tcp))."
      - "C(count) (integer, default 1): how many source ports to use; without C(source_port) how many connections to
        make."
      - "C(source_port) (integer 1..65535): the first source port, the others follow it; default: any the system
        gives. TCP connections from a given port are ended by a reset, so that the port is free for its next turn."
      - "C(source_address) (string): the address to send from; default: the one the system gives."
      - "C(repeat) (integer, default 1): how often each source port is used. The ports take turns."
      - "C(together) (boolean, default false): whether all connections are opened before the first is asked, and closed
        after the last has answered. Each source port has one connection then. A server that ends connections by itself
        meanwhile has fewer of them open."
      - "C(send) (string): what to send once connected. A datagram is sent in any case, empty by default."
      - "C(pattern) (string): a regular expression that finds the name of who answered in the answer: its first group,
        or its whole match if it has none. Without it nothing is read."
      - "C(timeout) (integer, seconds, default 3): how long to wait for the connection, and for each piece of the
        answer."
      - "C(name) (string): a label that comes back in the result."
    type: list
    elements: dict
    required: true
extends_documentation_fragment:
  - l4lb.ipvs.attributes
  - l4lb.ipvs.netns
attributes:
  check_mode:
    support: full
    details: Nothing is sent in check mode; the task is skipped.
  diff_mode:
    support: none
    details: Nothing is changed.
  idempotent:
    support: full
seealso:
  - module: l4lb.ipvs.ipvs_info
"""

EXAMPLES = r"""
- name: See in turn who answers
  l4lb.ipvs.ipvs_probe:
    targets:
      - address: 192.0.2.10
        port: 80
        count: 30
        send: "GET / HTTP/1.0\r\n\r\n"
        pattern: 'X-Server: (\S+)'
  delegate_to: client
  register: answers

- name: See whether 300 source ports stay with their servers, 50 times each
  l4lb.ipvs.ipvs_probe:
    targets:
      - address: 192.0.2.10
        port: 443
        source_port: 20000
        count: 300
        repeat: 50
        pattern: '^\S+'
  delegate_to: client
"""

RETURN = r"""
targets:
  description: One dict per target, in the order given.
  returned: success, but in check mode
  type: list
  elements: dict
  contains:
    name:
      description: The label given.
      type: str
      returned: when given
    address:
      description: The address asked.
      type: str
    port:
      description: The port asked.
      type: int
    protocol:
      description: The protocol used.
      type: str
    attempts:
      description: How many connections were to be made.
      type: int
    answers:
      description:
        - How many connections were answered, by the name of who answered; V(connected) or V(sent) without a pattern.
      type: dict
    failures:
      description: How many failed, by reason (an error name of errno(3), C(timed out), C(not attempted), ...).
      type: dict
    by_port:
      description: Who answered the connections from each source port, in order, where C(source_port) was given.
      type: dict
  sample:
    - address: 192.0.2.10
      port: 80
      protocol: tcp
      attempts: 3
      answers:
        backend1: 2
        backend2: 1
      failures: {}
      by_port: {}
"""

from ansible_collections.l4lb.ipvs.plugins.module_utils._module import run_module
from ansible_collections.l4lb.ipvs.plugins.module_utils._probe import probe

ARGUMENT_SPEC = {"targets": {"type": "list", "elements": "dict", "required": True}}


def main() -> None:
    run_module(ARGUMENT_SPEC, probe, writes=False)


if __name__ == "__main__":
    main()
