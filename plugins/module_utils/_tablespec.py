# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""AnsibleModule's spec of a whole table, and the way from a task's options to the model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Callable

from . import _argspec, _model, _values
from ._errors import Findings
from ._module import Task
from ._policy import ACTION_WORDS, PURGES, Policy, check_scope, limit, parse_not_ready, parse_scope
from ._values import Field

_LIMIT_FIELDS = (Field("max_removals", limit),)
_PRESENT: dict[str, Any] = {
    "purge": {"type": "str", "choices": list(PURGES), "default": "none"},
    "keep_weights": {"type": "bool", "default": False},
    "max_removals": {"type": "raw", "default": "25%"},
    "not_ready": {"type": "list", "elements": "dict", "default": []},
    **_argspec.FORCE,
}
TABLE: dict[str, Any] = {
    "services": {"type": "list", "elements": "dict"},
    "src": {"type": "path"},
    "scope": {"type": "dict"},
    "allow_actions": {
        "type": "list",
        "elements": "str",
        "choices": list(ACTION_WORDS),
        "default": list(ACTION_WORDS),
    },
    **_PRESENT,
    **_argspec.STATE,
}


def parse_table(
    task: Task, live: Callable[[Collection[_model.ServiceKey]], _model.Table]
) -> tuple[_model.Table, Policy, bool]:
    """The services that a task lists, in its options or in a file, what it allows, and whether commands of ipvsadm list
    them. What breaks a rule is held against the ``live`` entries, which are read only then.

    :raises InvalidInput: one of them is bad.
    """
    params, findings = task.params, Findings()
    source = "services" if params["src"] is None else "src"
    value, commands = params["services"], False
    if source == "src":
        from . import _source  # most tasks do without it

        value, commands = _source.load(params["src"], findings)
    listed = _model.parse_services(value, source, findings)
    scope = parse_scope(params["scope"], findings)
    limits = _values.record(_LIMIT_FIELDS, {"max_removals": params["max_removals"]}, "", findings) or {}
    check_scope(listed, scope, source, findings)
    not_ready = parse_not_ready(params["not_ready"], findings)
    if params["state"] == "absent":
        # how a service would have to be, or had better be, does not matter to its removal
        findings.warnings.clear()
        findings.problems = [one for one in findings.problems if one.subject is None]
    elif any(one.subject for one in findings.problems):
        _model.settle(findings, live(listed))
    _values.refuse_with_absent(params, _PRESENT, findings)
    task.conclude(findings)
    allowed = tuple(params["allow_actions"])
    policy = Policy(params["purge"], scope, params["keep_weights"], limits["max_removals"], allowed, not_ready)
    return listed, policy, commands
