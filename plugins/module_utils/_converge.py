# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The one way in which a module changes the IPVS table: read, plan, write, read back."""

from __future__ import annotations

import contextlib
from collections.abc import Container
from typing import TYPE_CHECKING, Any, Callable, Optional

from ._client import READINGS, Client, ipvs_loaded
from ._errors import IpvsError
from ._model import ServiceKey, Table
from ._module import Task
from ._plan import REMOVALS, Operation, Plan, listed

if TYPE_CHECKING:
    from ._ownership import Register


def new_register(keys: Optional[Container[ServiceKey]] = None) -> Register:
    """The record of what is ours, for a run that looks at the services ``keys``, or at all. Imported here: a run that
    neither adds, removes nor purges does without.
    """
    from ._ownership import Register

    return Register(keys)


def converge(
    task: Task,
    read: Callable[[Client], Table],
    decide: Callable[[Table], Plan],
    register: Optional[Callable[[], Register]] = None,
    strikes: bool = False,
) -> dict[str, Any]:
    """Read the part of the table that matters, decide, and carry the decision out unless in check mode -> the
    module's result, with the plan beside it under ``plan`` for the caller to take out. Where another writer gets
    in between, it reads and decides again. With a ``register`` what is added becomes ours. It is written down
    before it is added, so that a run that dies leaves nothing behind that no later run would know for its own.
    ``strikes`` tells that the caller strikes out of the record what is found absent, even if nothing is to be changed.

    :raises Unavailable: something is to be added, and there is no ip_vs to load.
    :raises IpvsError: something failed; its details say what became of the operations.
    """
    applied: list[Operation] = []

    def doubts(plan: Plan) -> list[Any]:
        found: list[Any] = _removals(plan)
        if register and (strikes or plan.adds_or_removes):
            found += filter(None, register().missing(plan.current))
        return found

    with contextlib.ExitStack() as stack:
        # without the module the table is empty, and only what is to be added needs it
        client = stack.enter_context(Client()) if ipvs_loaded() else None
        first = plan = _decide(client, read, decide, doubts)
        if plan.operations:
            from . import _change

            if client is None:
                _change.load(task)
            if task.check_mode:
                _change.check_kernel(plan)
            else:
                client = client or stack.enter_context(Client())
                record = register() if register else None
                plan, applied = _change.carry_out(plan, client, lambda: _decide(client, read, decide, doubts), record)
    told = plan._replace(current=first.current, operations=tuple(applied) if applied else plan.operations)
    result: dict[str, Any] = {
        "changed": bool(told.operations),
        "operations": listed(told.operations),
        "plan": told,
    }
    if task.diff_mode:
        result["diff"] = told.diff()
    return result


def _decide(
    client: Optional[Client],
    read: Callable[[Client], Table],
    decide: Callable[[Table], Plan],
    doubts: Callable[[Plan], list[Any]],
) -> Plan:
    """A decision about the table as it is. Where there are ``doubts``, two readings have to lead to the same: a dump
    may show a table that never was (``_client.Client.table``). So it is with what is taken away, and with what is ours
    and not found, which would be added once more, or be ours no more.
    """
    if client is None:
        return decide({})
    plan = decide(read(client))
    for _attempt in range(1, READINGS):
        doubted = doubts(plan)
        if not doubted:
            return plan
        again = decide(read(client))
        if doubts(again) == doubted:
            return again
        plan = again
    raise IpvsError(
        f"another writer keeps changing the IPVS table: {READINGS} readings differ in what is missing or to be removed"
    )


def _removals(plan: Plan) -> list[tuple[Any, ...]]:
    """What is taken away, by its identity: its weight is another's business."""
    return [
        (operation.action, operation.key, operation.before and operation.before.key)
        for operation in plan.operations
        if operation.action in REMOVALS
    ]
