# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The one way in which a module changes the IPVS table: read, plan, write, read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Union

from . import _kernel
from ._apply import Outcome, apply
from ._client import READINGS, Client
from ._errors import Findings, IpvsError, Unavailable
from ._model import Server, Service, ServiceKey, Table, server_line, service_line
from ._module import Task
from ._ownership import Register
from ._plan import REMOVALS, Operation, Plan, capped, listed, operation_line


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


def converge(
    task: Task,
    read: Callable[[Client], Table],
    decide: Callable[[Table], Plan],
    register: Optional[Register] = None,
) -> dict[str, Any]:
    """Read the part of the table that matters, decide, and carry the decision out unless in check mode -> the
    module's result, with the plan beside it under ``plan`` for the caller to take out. Where another writer gets
    in between, it reads and decides again. With a ``register`` what is added becomes ours. It is written down
    before it is added, so that a run that dies leaves nothing behind that no later run would know for its own.

    :raises IpvsError: something failed; its details say what was applied, what failed and what was not attempted.
    """
    applied: list[Operation] = []
    with session(task) as client:
        first = plan = _decide(client, read, decide)
        for last in (False, False, True):
            _check_modules(plan)
            if client is None or task.check_mode or not plan.operations:
                break
            if register:
                register.claim(plan.operations)
            outcome = _carry_out(plan, client)
            applied += outcome.applied
            if register:
                register.settle(outcome)
            if outcome.failed and (last or not outcome.raced):
                raise _failure(outcome._replace(applied=tuple(applied)), plan)
            with _after(applied):
                if not outcome.failed:
                    _read_back(plan, client.entries({operation.key for operation in plan.operations}))
                    break
                plan = _decide(client, read, decide)
    told = Plan(first.current, plan.predicted, tuple(applied) if applied else plan.operations)
    result: dict[str, Any] = {
        "changed": bool(told.operations),
        "operations": listed(told.operations),
        "plan": told,
    }
    if task.diff_mode:
        result["diff"] = told.diff()
    return result


@contextlib.contextmanager
def _after(applied: Sequence[Operation]) -> Iterator[None]:
    """A failure in here tells what was applied before it."""
    try:
        yield
    except IpvsError as error:
        error.details.update(changed=bool(applied), outcome=_told(Outcome(tuple(applied), (), ())))
        raise


def _carry_out(plan: Plan, client: Client) -> Outcome:
    try:
        return apply(plan, client)
    except IpvsError as error:
        # the session broke off: nobody knows how far the kernel got, but every step of the plan is safe to stop at
        error.details.update(changed=True, diff=plan.diff(), operations=listed(plan.operations))
        raise


def _decide(client: Optional[Client], read: Callable[[Client], Table], decide: Callable[[Table], Plan]) -> Plan:
    """A decision about the table as it is. One that takes something away must be made twice in the same way: a dump may
    show a table that never was (``_client.Client.table``).
    """
    plan = decide(read(client) if client else {})
    for _attempt in range(1, READINGS):
        if client is None or not _removals(plan):
            return plan
        again = decide(read(client))
        if _removals(again) == _removals(plan):
            return again
        plan = again
    raise IpvsError(f"another writer keeps changing the IPVS table: {READINGS} readings led to different removals")


def _removals(plan: Plan) -> list[Operation]:
    return [operation for operation in plan.operations if operation.action in REMOVALS]


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
    result = _told(outcome)
    first = result["failed"][0]
    more = f" (and {len(outcome.failed) - 1} more)" if len(outcome.failed) > 1 else ""
    return IpvsError(
        f"the kernel refused {first['operation']}: {first['reason']}{more}",
        changed=bool(outcome.applied),
        diff=plan.diff(),
        outcome=result,
    )


def _told(outcome: Outcome) -> dict[str, list[Any]]:
    return {name: capped(lines, len(lines)) for name, lines in outcome.result().items()}


def _read_back(plan: Plan, found: Table) -> None:
    """Hold what the kernel now has against what the plan promised: it ignores attributes it does not know, without an
    error. What the plan does not touch is another's business.

    :raises IpvsError: an object differs.
    """
    wrong = []
    for operation in plan.operations:
        entry = found.get(operation.key)
        subject = operation.after or operation.before
        held: Union[Service, Server, None] = None
        if entry is not None:
            held = entry.service if isinstance(subject, Service) else entry.servers.get(subject.key)  # type: ignore[union-attr]
        if held != operation.after:
            wrong.append({"operation": operation_line(operation), "found": _line(operation.key, held)})
    if wrong:
        raise IpvsError(
            f"the kernel accepted {wrong[0]['operation']} but holds {wrong[0]['found'] or 'nothing'}",
            changed=True,
            diff=plan.diff(),
            differences=capped(wrong, len(wrong)),
        )


def _line(key: ServiceKey, held: Union[Service, Server, None]) -> str:
    if held is None:
        return ""
    return service_line(held) if isinstance(held, Service) else server_line(key, held)
