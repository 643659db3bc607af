# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: held_services
short_description: List the services whose VIP is on a host
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Of the services that a director carries, keeps those whose VIP the host has at the time it was read, whoever placed
    it there.
  - A service by firewall mark whose addresses C(ipvs_services) does not state is kept if the director holds its VIPs by
    itself, or something else places them.
positional: _input
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
options:
  host:
    description: The result of M(l4lb.ipvs.ipvs_host_info).
    type: dict
    required: true
  vip:
    description: The variable C(ipvs_director_vip) of the director, see P(l4lb.ipvs.director_plan#filter).
    type: raw
    default: hold
seealso:
  - plugin: l4lb.ipvs.resolve_services
    plugin_type: filter
"""

EXAMPLES = r"""
held: >-
  {{ ipvs_services | l4lb.ipvs.held_services(
       host=reading, hostvars=hostvars, groups=groups, director=inventory_hostname) }}
"""

RETURN = r"""
_value:
  description: The plain services.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any, Callable, Optional

from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._resolve import resolve
from ..plugin_utils._site import held
from ..plugin_utils._vip_words import HOLD


@tells_invalid_input
def held_services(
    services: Any, host: Mapping[str, Any], director: Optional[str] = None, vip: object = HOLD, **inventory: Any
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    resolved = resolve(services, given(**inventory), director)
    return held(resolved, host, vip, [service.get("name") for service in services])


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"held_services": held_services}
