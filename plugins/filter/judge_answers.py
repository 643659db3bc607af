# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: judge_answers
short_description: Judge whether the answers are what the scheduler promises
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Judges what M(l4lb.ipvs.ipvs_probe) brought back from the targets of P(l4lb.ipvs.verify_targets#filter), one
    verdict per service.
  - A connection that fails, an answer of a server with weight 0 and an answer of somebody who is no server fail every
    service. So does a server with weight that never answers, wherever the scheduler lets one client reach every server;
    enough connections are made for the least weight, but not more than 10,000.
  - V(rr) and V(wrr) are asked in whole rounds; each server must answer as often as its turns come, give or take one.
    Rounds longer than 300 connections are judged by share where that takes fewer.
  - V(lc), V(wlc) and V(twos) must be within 20 points of a hundred of the share of each weight.
  - V(sed) and V(nq) look at open connections, so these are held open until the last has answered, at most 500 of them.
  - V(sh) with V(sh-port) and V(mh) with V(mh-port) are asked twice from each of at least 60 source ports. One port
    must reach one server (where there is a pattern, for the counters do not tell), and over all ports every server
    must answer.
  - V(sh), V(dh), V(mh), V(lblc), V(lblcr) and every service with persistence must give one client one server.
  - V(fo) and V(ovf) must give the server with the highest weight.
  - With V(fo), V(ovf) and where one client has one server, servers that have no part in it may be silent.
positional: _input
options:
  _input:
    description: The plain services.
    type: list
    elements: dict
    required: true
  results:
    description: The C(targets) that M(l4lb.ipvs.ipvs_probe) returned.
    type: list
    elements: dict
    required: true
  verify:
    description:
      - Maps the names of services, or V(default) for all others, to how they are asked.
      - "C(send) and C(pattern) (strings): what to send, and the regular expression that finds the name of who
        answered."
      - "C(names) (dict): the server, as address or address:port, of each such name. An address, or address:port,
        needs none."
      - "C(timeout) (integer, seconds)."
      - "C(address), C(port), C(protocol): where to reach a service that has none of its own (fwmark, port 0)."
    type: dict
    default: {}
  before:
    description:
      - The C(statistics) that M(l4lb.ipvs.ipvs_info) returned before, for services without a pattern. Where several
        directors have a VIP, the lists of all of them put together; their counters are added up.
      - A server whose connections all failed is known by them only with V(nat), where its answers pass the director.
    type: list
    elements: dict
  after:
    description: The same afterwards. Connections of others in between count as well.
    type: list
    elements: dict
  held:
    description:
      - The plain services whose VIP any director has, see P(l4lb.ipvs.held_services#filter). Any other fails. By
        default all.
    type: list
    elements: dict
seealso:
  - plugin: l4lb.ipvs.verify_targets
    plugin_type: filter
"""

EXAMPLES = r"""
verdicts: "{{ plain | l4lb.ipvs.judge_answers(answers.targets, verify=ipvs_verify) }}"
"""

RETURN = r"""
_value:
  description:
    - One dict per service with C(service), C(passed), C(explained) (whether it is known who gave each answer) and
      C(line), a sentence that begins with PASS or FAIL.
  type: list
  elements: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ..plugin_utils._filter import tells_invalid_input
from ..plugin_utils._verify import judge


@tells_invalid_input
def judge_answers(
    services: object,
    results: Sequence[Mapping[str, Any]],
    verify: Optional[Mapping[str, Any]] = None,
    before: Optional[Sequence[Mapping[str, Any]]] = None,
    after: Optional[Sequence[Mapping[str, Any]]] = None,
    held: Optional[Sequence[Mapping[str, Any]]] = None,
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    return judge(services, results, verify or {}, before, after, held)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"judge_answers": judge_answers}
