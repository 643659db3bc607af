# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules that keep tables of their own in nftables have in common."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(present) makes the tables hold the list, V(absent) removes them.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - What happens to what is in the tables and not listed. V(none) keeps it. V(owned) makes the list the whole truth
        of the tables; an empty list then removes them. V(only) removes what is not listed as V(owned) does, but adds
        and changes nothing. With O(state=absent) only V(none) is accepted.
    type: str
    choices: [none, owned, only]
    default: none
requirements:
  - nft (nftables) 1.0.0 or newer, with JSON
notes:
  - The tables belong to this module whole. One exists only if it holds something; it is replaced in one transaction,
    and only if it differs. No other table is ever touched.
  - A second run compares the elements of the sets, a digest of the rules that is in the comment of the first rule, the
    hook, priority, type and policy of each chain, and the kernel's numbers of chains, sets and rules, which tell
    whether anybody changed them since. It does not compare the text of rules, which differs between versions of nft.
    Tested with nft 1.0.6.
  - A foreign element (one with a comment or a timeout, a prefix, a range of addresses) and a table that is dormant are
    changes, shown as C(changed by another hand), and the table is replaced. What is not listed is kept, according to
    O(purge), but for foreign elements; of a table for which nft prints broken JSON, as 1.0.6 may for one that is
    dormant, nothing is.
  - Nothing is persistent. The tables are gone after a reboot.
  - Needs root, or C(CAP_NET_ADMIN).
"""
