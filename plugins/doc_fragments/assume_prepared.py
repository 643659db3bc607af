# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  assume_prepared:
    description:
      - In check mode, assume that the sysctls, kernel modules and interfaces which the task needs are there, because
        earlier tasks of the play would set them up. What is missing is not an error and not a warning then.
      - Outside of check mode it has no effect.
    type: bool
    default: false
"""
