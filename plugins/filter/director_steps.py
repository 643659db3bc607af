# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: director_steps
short_description: Put the directors of a fleet into the order in which they are built
version_added: 0.1.0
author:
  - The l4lb.ipvs authors (@l4lb)
description:
  - Directors that share a VIP are a pair, or a larger group. They are built one after the other, those that hold no VIP
    first.
  - Pairs are built in waves, so that a mistake does not reach all of them. The pairs of a wave are built at the same
    time.
  - A VIP that is live on one director and is to be held by another is released right before the other one is built,
    whichever comes first in the inventory.
positional: _input
options:
  _input:
    description: The names of the directors, in order.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - The variables of all hosts, C(hostvars). C(__ipvs_site_claim) is what P(l4lb.ipvs.director_claim#filter)
        returned for a director, and C(__ipvs_director_host) the result of M(l4lb.ipvs.ipvs_host_info) there. Without
        the first a director is left out. Without the second it stops its pair, unless it is the only director.
    type: dict
    required: true
  waves:
    description:
      - The number of pairs in each wave, an integer or a percentage of all pairs. The last one repeats until all pairs
        are in a wave.
    type: raw
    default: [1, 25%, 100%]
seealso:
  - plugin: l4lb.ipvs.director_claim
    plugin_type: filter
"""

EXAMPLES = r"""
steps: "{{ groups.ipvs_directors | l4lb.ipvs.director_steps(hostvars=hostvars, waves=[1, '25%', '100%']) }}"
"""

RETURN = r"""
_value:
  description:
    - The steps, in order. Each has C(build), a dict from each director of the step to the directors of its pair that
      must be done before; C(release), a dict from directors to the VIPs that they must remove first, each a dict of the
      C(taker) and C(vips), as M(l4lb.ipvs.ipvs_vip) takes them; and C(earlier), the directors of the waves before.
  type: list
  elements: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ..plugin_utils import _site
from ..plugin_utils._filter import tells_invalid_input
from ..plugin_utils._hostvars import Hostvars


@tells_invalid_input
def director_steps(
    names: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], waves: object = _site.WAVES
) -> list[dict[str, Any]]:
    """The filter of this name; see DOCUMENTATION."""
    known = {name: Hostvars(hostvars)[name] for name in names}
    claims = {name: one[_site.CLAIM] for name, one in known.items() if _site.CLAIM in one}
    hosts = {name: known[name].get(_site.READING, {}) for name in claims}
    return _site.steps(claims, hosts, waves)


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"director_steps": director_steps}
