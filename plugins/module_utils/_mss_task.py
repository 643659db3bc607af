# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What M(l4lb.ipvs.ipvs_mss) does with the host."""

from __future__ import annotations

from typing import Any

from . import _mss, _nft_task, _values
from ._errors import Findings
from ._module import Task
from ._values import KEEP_FORMER

PURPOSE = _nft_task.Purpose(_mss.TABLES, _mss.draft, _mss.read, _mss.lines, _mss.merge)


def body(task: Task) -> dict[str, Any]:
    """The module.

    :raises IpvsError: invalid input, a host that lacks something, or nft refused; nothing has changed then.
    """
    findings = Findings()
    clamps = _nft_task.listed(task, "clamps", _mss.parse_clamps, findings)
    _values.refuse_with_absent(task.params, KEEP_FORMER, findings)
    keep = task.params["keep_former"]
    if keep and task.params["purge"] != "none":
        findings.problem("keep_former", f"means nothing with purge {task.params['purge']}", keep)
    task.conclude(findings)
    purpose = PURPOSE._replace(merge=_mss.merge_lower) if keep else PURPOSE
    result = _nft_task.converge(task, purpose, _mss.elements_by_family(clamps))
    return {**result, "clamps": [_mss.clamp_params(clamp) for clamp in clamps]}
