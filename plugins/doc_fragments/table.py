# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What the modules that change the table return.
    DOCUMENTATION = r"""
options: {}
notes:
  - Needs root, or C(CAP_NET_ADMIN) in the initial user namespace, even to read.
  - The kernel module C(ip_vs) is loaded where there is something to add. Without it the table is empty, and there is
    nothing to remove. In check mode nothing is loaded, and what would be added is planned with a warning.
  - When the kernel refuses an operation, nothing that would be removed later is removed. The failed task returns
    RV(ignore:outcome) with the lists C(applied), C(failed) (each with its reason), C(not_attempted) and C(unknown). The
    last are those of which nobody knows, for the kernel's answer was lost; the same task tells when it is run again.
  - After writing, the module reads the table again and fails if the kernel does not hold what it accepted.
"""

    # Of those that add services.
    FORCE = r"""
options:
  force:
    description:
      - Add also a service with the address and port through which the task came, or with every port of the address.
        IPVS takes new connections to it before sshd sees them.
      - Without it such a service is refused, in check mode too, unless it is there already or goes to another
        network namespace. With O(state=absent) it means nothing, and is refused.
    type: bool
    default: false
"""
