# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: lint
short_description: Check how services, directors and backends fit together
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Checks C(ipvs_services) against the rest of the inventory before any host is touched, and tells everything at once,
    each sentence with the services and the way out.
  - What a single service breaks is refused by P(l4lb.ipvs.resolve_services#filter), which this filter calls first.
  - "The addresses of a host are those in its variables C(ansible_host), C(ipvs_address), C(ipvs_address6),
    C(ipvs_backend_addresses), C(ipvs_networks) and in those that C(servers_from) names, and those in its facts if they
    are there. Loopback addresses do not count, nor VIPs in facts."
  - The networks of a host are those in its variable C(ipvs_networks), a list of C(address/prefix), where the address
    is the host's own or that of the network; without it, those in its facts if they are there. The same network on two
    hosts is one segment.
  - Which VIPs a director holds is in its variable C(ipvs_director_vip), one word or a dict of them by service.
  - The guide on the check of the topology lists all checks.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
options:
  directors:
    description:
      - The hosts that carry the services without C(directors). By default the group C(ipvs_directors).
    type: list
    elements: str
  backends:
    description:
      - The hosts that get the role of backends. By default the group C(ipvs_backends).
    type: list
    elements: str
  allow:
    description: The checks whose problems are to be warnings.
    type: list
    elements: str
    default: []
  batch:
    description:
      - The hosts that are about to be changed. If one of the hosts has an earlier verdict in its variable
        C(__ipvs_lint), and that knew the same of all these hosts, it is returned again, without what it said already.
      - With it the verdict has C(known), what it took for known of each host, in short.
    type: list
    elements: str
    default: []
  invalid:
    description:
      - What comes of invalid input, V(raise) an error, or V(return) a result that has C(problems), no C(warnings), and
        C(invalid).
    type: str
    choices: [raise, return]
    default: raise
seealso:
  - plugin: l4lb.ipvs.resolve_services
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Check the inventory
  ansible.builtin.assert:
    that: verdict.problems | length == 0
    fail_msg: "{{ verdict.problems | join('; ') }}"
  vars:
    verdict: "{{ ipvs_services | l4lb.ipvs.lint(hostvars=hostvars, groups=groups) }}"
"""

RETURN = r"""
_value:
  description:
    - C(problems), C(warnings) and C(not_checked), what could not be checked and what would have to be known for it.
      Each is a list of sentences.
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ..plugin_utils import _lint
from ..plugin_utils._filter import given, returns_invalid_input


@returns_invalid_input
def lint(
    services: object,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    pools: Optional[Mapping[str, Any]] = None,
    directors: Optional[Sequence[str]] = None,
    backends: Optional[Sequence[str]] = None,
    allow: Sequence[str] = (),
    batch: Sequence[str] = (),
) -> dict[str, Any]:
    """The filter of this name; see DOCUMENTATION."""
    verdict = _lint.lint(services, given(hostvars, groups, pools), directors, backends, allow, batch)._asdict()
    return verdict if batch else {name: verdict[name] for name in ("problems", "warnings", "not_checked")}


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lint": lint}
