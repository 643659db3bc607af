# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: site_report
short_description: Report what a run of the playbook site did to each host
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - From the facts that the playbook C(l4lb.ipvs.site) and the roles record, makes one line for each host, and one for
    each of its warnings.
positional: _input
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  alive:
    description: The names of the hosts that were reachable to the end, C(ansible_play_hosts).
    type: list
    elements: str
    required: true
  checked:
    description: Whether the run was one in check mode, C(ansible_check_mode).
    type: bool
    default: false
"""

EXAMPLES = r"""
report: "{{ ansible_play_hosts_all | l4lb.ipvs.site_report(hostvars=hostvars, alive=ansible_play_hosts) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Callable

from ..plugin_utils._hostvars import Hostvars
from ..plugin_utils._site import report


def site_report(
    names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], alive: Collection[str], checked: bool = False
) -> list[str]:
    """The filter of this name; see DOCUMENTATION."""
    return report(names, Hostvars(hostvars), alive, checked)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"site_report": site_report}
