# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the filters take that read the services of the inventory."""

    DOCUMENTATION = r"""
options:
  _input:
    description: The services, as P(l4lb.ipvs.resolve_services#filter) takes them.
    type: list
    elements: dict
    required: true
  hostvars:
    description:
      - The variables of all hosts, C(hostvars). A variable of which the host has returned a fact of the same name is
        refused, because the fact wins over the inventory, unless C(inject_facts_as_vars) of Ansible is off.
    type: dict
    required: true
  groups:
    description: The groups of the inventory, C(groups).
    type: dict
    required: true
  pools:
    description:
      - The named pools of servers that C(pool) refers to. Each is a dict of C(servers), C(servers_from) or both.
    type: dict
    default: {}
"""

    DIRECTOR = r"""
options:
  director:
    description: Keep only the services that this host carries. All are checked nevertheless.
    type: str
"""
