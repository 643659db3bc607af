# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: service_marks
short_description: List the traffic of services by firewall mark
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Lists, for M(l4lb.ipvs.ipvs_mark), the traffic that C(mark) states of every service of C(ipvs_services) with
    C(fwmark). C(mark) is a dict of C(addresses), C(ports), C(protocols) and C(interfaces), of which only C(addresses)
    is required. A service without C(mark) has its traffic marked by somebody else.
  - It takes the services as the inventory has them, as P(l4lb.ipvs.resolve_services#filter) does, and checks them in
    the same way.
positional: _input
options:
  _input:
    description: The services.
    type: list
    elements: dict
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars).
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
  director:
    description: Keep only the services that this host carries. All are checked nevertheless.
    type: str
seealso:
  - module: l4lb.ipvs.ipvs_mark
"""

EXAMPLES = r"""
ipvs_services:
  - name: web
    fwmark: 80
    family: ipv4
    mark:
      addresses: [192.0.2.10, 192.0.2.11]
      ports: [80, 443]
    persistence_timeout: 300
    forward: nat
    servers:
      - address: 198.51.100.11
      - address: 198.51.100.12

marks: "{{ ipvs_services | l4lb.ipvs.service_marks(hostvars=hostvars, groups=groups, director=inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The marks, each with its traffic.
  type: list
  elements: dict
  sample:
    - fwmark: 80
      family: ipv4
      addresses: [192.0.2.10, 192.0.2.11]
      ports: [80, 443]
      protocols: [tcp]
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ..plugin_utils import _marks
from ..plugin_utils._resolve import Inventory, resolve


def service_marks(
    services: object,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    pools: Optional[Mapping[str, Any]] = None,
    director: Optional[str] = None,
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    try:
        return _marks.marks(resolve(services, Inventory(hostvars, groups, pools or {}), director))
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"service_marks": service_marks}
