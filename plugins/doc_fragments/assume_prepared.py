# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  assume_prepared:
    description:
      - Names of the kernel modules, interfaces and sysctls that earlier tasks of the play load, make and set. In check
        mode they are assumed to be there, so that they are not reported as missing.
      - Outside of check mode it has no effect.
    type: list
    elements: str
    default: []
"""
