# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: verify_targets
short_description: List the connections that show a scheduler at work
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Makes the targets of M(l4lb.ipvs.ipvs_probe) for plain services. How many connections, and from which source
    ports, depends on the scheduler, as P(l4lb.ipvs.judge_answers#filter) explains.
positional: _input
options:
  _input:
    description: The plain services.
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
  first_source_port:
    description:
      - From which source port on the services are asked that are scheduled by source port.
      - A director remembers a failed connection for a minute or two and does not treat the next one from its port
        anew, so another run soon after should use other ports.
    type: int
    default: 20000
seealso:
  - plugin: l4lb.ipvs.judge_answers
    plugin_type: filter
"""

EXAMPLES = r"""
targets: "{{ plain | l4lb.ipvs.verify_targets(verify={'default': {'pattern': '^[^ ]+'}}) }}"
"""

RETURN = r"""
_value:
  description: The targets. A service that cannot be reached by address and port has none.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any, Callable, Optional

from ..plugin_utils._filter import tells_invalid_input
from ..plugin_utils._verify import FIRST_SOURCE_PORT, targets


@tells_invalid_input
def verify_targets(
    services: object, verify: Optional[Mapping[str, Any]] = None, first_source_port: int = FIRST_SOURCE_PORT
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    return targets(services, verify or {}, int(first_source_port))


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"verify_targets": verify_targets}
