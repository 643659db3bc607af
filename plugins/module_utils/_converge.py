# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The one way in which a module changes the IPVS table: read, plan, write, read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Callable, Optional

from . import _kernel
from ._apply import Outcome, apply
from ._client import Client
from ._errors import Findings, IpvsError, Unavailable
from ._model import Service, Table, entry_lines
from ._module import Task
from ._plan import Plan, operation_line

#: More lines than this are counted, not listed: the result of a table of thousands must stay small.
MAX_LISTED = 100


@contextlib.contextmanager
def session(task: Task) -> Iterator[Optional[Client]]:
    """A client, its kernel module loaded; ``None`` in check mode where the module is loadable but not loaded.

    :raises Unavailable: there is no ip_vs to load.
    """
    if not _kernel.ipvs_loaded():
        if task.check_mode:
            if not _kernel.module_known("ip_vs"):
                raise Unavailable("the kernel module ip_vs is not loaded, and this host does not have it")
            task.warn("the kernel module ip_vs is not loaded: planned against an empty table")
            yield None
            return
        _kernel.load_ipvs(task)
    with Client() as client:
        yield client


def converge(task: Task, read: Callable[[Client], Table], decide: Callable[[Table], Plan]) -> dict[str, Any]:
    """Read the part of the table that matters, decide, and carry the decision out unless in check mode -> the module's
    result, with the plan beside it under ``plan`` for the caller to take out.

    :raises IpvsError: something failed; its details say what was applied, what failed and what was not attempted.
    """
    with session(task) as client:
        plan = decide(read(client) if client else {})
        result: dict[str, Any] = {
            "changed": bool(plan.operations),
            "diff": plan.diff(),
            "operations": capped([operation_line(operation) for operation in plan.operations]),
        }
        _check_modules(plan)
        if plan.operations and client and not task.check_mode:
            outcome = apply(plan, client)
            if outcome.failed:
                raise _failure(outcome, plan)
            _read_back(plan, read(client))
    result["plan"] = plan
    return result


def capped(lines: list[str]) -> list[str]:
    """At most :data:`MAX_LISTED` lines, then how many more there are."""
    if len(lines) <= MAX_LISTED:
        return lines
    return [*lines[:MAX_LISTED], f"... and {len(lines) - MAX_LISTED} more"]


def _check_modules(plan: Plan) -> None:
    """Refuse a scheduler or engine that this kernel does not have before a byte is written."""
    findings = Findings()
    missing: dict[str, bool] = {}
    for operation in plan.operations:
        if not isinstance(operation.after, Service) or operation.action not in ("add_service", "edit_service"):
            continue
        names = [f"ip_vs_{operation.after.scheduler}"]
        if operation.after.engine:
            names.append(f"ip_vs_pe_{operation.after.engine}")
        for name in names:
            if name not in missing:
                missing[name] = not _kernel.module_known(name)
            if missing[name]:
                findings.problem(operation_line(operation), f"the module {name} is not available in this kernel")
    findings.raise_problems()


def _failure(outcome: Outcome, plan: Plan) -> IpvsError:
    result = outcome.result()
    first = result["failed"][0]
    more = f" (and {len(outcome.failed) - 1} more)" if len(outcome.failed) > 1 else ""
    message = f"the kernel refused {first['operation']}: {first['reason']}{more}"
    return IpvsError(
        message,
        changed=bool(outcome.applied),
        diff=plan.diff(),
        outcome={name: capped(lines) for name, lines in result.items()},
    )


def _read_back(plan: Plan, found: Table) -> None:
    """Hold what the kernel now has against what the plan promised: it ignores attributes it does not know, without an
    error.

    :raises IpvsError: an entry differs.
    """
    wrong: list[str] = []
    for key in sorted({operation.key for operation in plan.operations}):
        entry, promised = found.get(key), plan.predicted.get(key)
        if entry != promised:
            lines = entry_lines(entry) if entry else []
            hoped = entry_lines(promised) if promised else []
            wrong += [f"missing: {line}" for line in hoped if line not in lines]
            wrong += [f"found: {line}" for line in lines if line not in hoped]
    if wrong:
        raise IpvsError(
            f"the kernel accepted the changes but does not hold them: {wrong[0]}",
            changed=True,
            diff=plan.diff(),
            differences=capped(wrong),
        )
