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
extends_documentation_fragment:
  - l4lb.ipvs.services
  - l4lb.ipvs.services.director
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

from typing import Any, Callable, Optional

from ..plugin_utils import _marks
from ..plugin_utils._filter import given, tells_invalid_input
from ..plugin_utils._resolve import resolve


@tells_invalid_input
def service_marks(services: object, director: Optional[str] = None, **inventory: Any) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    return _marks.marks(resolve(services, given(**inventory), director))


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"service_marks": service_marks}
