# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: not_ready_servers
short_description: List the servers that are on hosts which are not ready for them
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - From C(ipvs_services) and the names of hosts, lists the servers that a director must not add yet, as the option
    O(l4lb.ipvs.ipvs_table#module:not_ready) takes them.
  - Every server with C(dr) or C(tun) needs something on its host, and so does one with C(nat) whose C(return_path) is
    V(gateway), V(route) or V(policy). Other servers with C(nat) do not, and are left out;
    so are those that are C(prepared) elsewhere.
  - A host is known by its name, by C(ansible_host), C(ipvs_address), C(ipvs_address6), C(ipvs_backend_addresses), by
    the variable that C(servers_from) names, and by its gathered facts.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
options:
  names:
    description: The names of the hosts that are not ready.
    type: list
    elements: str
    required: true
seealso:
  - module: l4lb.ipvs.ipvs_table
"""

EXAMPLES = r"""
not_ready: >-
  {{ ipvs_services | l4lb.ipvs.not_ready_servers(
       names=['backend1'], hostvars=hostvars, groups=groups, director=inventory_hostname) }}
"""

RETURN = r"""
_value:
  description: The servers, each with C(service) and C(server).
  type: list
  elements: dict
"""

from collections.abc import Sequence
from typing import Any, Callable, Optional

from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._site import not_ready_servers as servers


@tells_invalid_input
def not_ready_servers(
    services: object, names: Sequence[str], director: Optional[str] = None, **inventory: Any
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    return servers(services, given(**inventory), director, names)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"not_ready_servers": not_ready_servers}
