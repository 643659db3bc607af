# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the modules that look traffic up are told which."""

    DOCUMENTATION = r"""
options: {}
notes:
  - "The items of the list are dicts, which tell traffic by C(addresses) (required), a list of IP addresses; C(ports), a
    list of ports and of ranges such as V(8000-8010), by default every port; C(protocols), a list of V(tcp), V(udp) and
    V(sctp), by default V(tcp) alone; and C(interfaces), the names of the devices that packets come in by, by default
    any. A device that is not there yet is accepted with a warning."
  - What is of two items of the list is refused. With O(purge=none) what is listed goes before what is in the tables.
"""
