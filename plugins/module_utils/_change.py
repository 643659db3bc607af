# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""A plan that changes something: held against this kernel, recorded, carried out, read back. Apart from the reading,
for most runs change nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Union

from . import _kernel
from ._apply import Outcome, apply, raced
from ._client import Client
from ._errors import Findings, IpvsError
from ._model import AF_INET6, Server, Service, ServiceKey, Table
from ._module import Task
from ._ownership import Register
from ._plan import Operation, Plan, capped, operation_line
from ._text import server_line, service_line


def load(task: Task) -> None:
    """Load ip_vs; in check mode only see that it can be.

    :raises Unavailable: it is not there, or may not be loaded.
    """
    if task.check_mode:
        _kernel.check_loadable()
        if "ip_vs" not in task.prepared:
            task.warn("the kernel module ip_vs is not loaded: planned against an empty table")
    else:
        _kernel.load_ipvs(task)


def carry_out(
    plan: Plan, client: Client, decide: Callable[[], Plan], register: Optional[Register]
) -> tuple[Plan, list[Operation]]:
    """Carry out the plan -> the plan that was carried out in the end, and all operations that were applied. Where
    another writer gets in between, ``decide`` makes the next plan.

    :raises IpvsError: something failed; its details say what became of the operations.
    """
    applied: list[Operation] = []
    for last in (False, False, True):
        with _told_after(applied):
            check_kernel(plan)
            if not plan.operations:
                break
            if register:
                register.claim(plan)
        outcome = apply(plan, client, lambda made: _holds(made, client))
        applied += outcome.applied
        with _told_after(applied):
            unsettled = _settle(register, outcome)
            if outcome.broken or (outcome.stopped and (last or not outcome.raced)):
                raise _failure(outcome._replace(applied=tuple(applied)), plan, unsettled)
            if unsettled:
                raise unsettled
            if not outcome.stopped:
                if register:
                    register.conclude(plan)
                _read_back(plan, client)
                break
            plan = decide()
    return plan, applied


def _holds(plan: Plan, client: Client) -> bool:
    """Whether the services that the plan removes have no servers that it does not know: the kernel would take them
    along.

    :raises IpvsError: they cannot be read.
    """
    gone = [operation.key for operation in plan.operations if operation.action == "remove_service"]
    now = client.entries(gone)
    return all(now[key].servers.keys() <= plan.current[key].servers.keys() for key in gone if key in now)


def _settle(register: Optional[Register], outcome: Outcome) -> Optional[IpvsError]:
    """Why the record does not say what became of the plan, which is told beside what the kernel refused."""
    try:
        if register:
            register.settle(outcome)
    except IpvsError as error:
        return error
    return None


@contextlib.contextmanager
def _told_after(applied: Sequence[Operation]) -> Iterator[None]:
    """A failure in here tells what was applied before it, unless it tells more."""
    try:
        yield
    except IpvsError as error:
        told = {"changed": bool(applied), "outcome": _told(Outcome(tuple(applied), (), ()))}
        error.details = {**told, **error.details}
        raise


def check_kernel(plan: Plan) -> None:
    """Refuse a scheduler or engine that this kernel does not have, and IPv6 without it, before a byte is written."""
    findings = Findings()
    missing: dict[str, bool] = {}
    without_ipv6 = any(one.key.family == AF_INET6 for one in plan.operations) and _kernel.ipv6_disabled()
    for operation in plan.operations:
        if not isinstance(operation.after, Service) or operation.action not in ("add_service", "edit_service"):
            continue
        if without_ipv6 and operation.key.family == AF_INET6:
            findings.problem(operation_line(operation), "IPv6 is disabled on this host")
        before = operation.before if isinstance(operation.before, Service) else None
        names = []
        if before is None or before.scheduler != operation.after.scheduler:
            names.append(f"ip_vs_{operation.after.scheduler}")
        if operation.after.engine and (before is None or before.engine != operation.after.engine):
            names.append(f"ip_vs_pe_{operation.after.engine}")
        for name in names:
            if name not in missing:
                missing[name] = not _kernel.module_known(name)
            if missing[name]:
                findings.problem(operation_line(operation), f"the module {name} is not available in this kernel")
    findings.raise_problems()


def _failure(outcome: Outcome, plan: Plan, unsettled: Optional[IpvsError]) -> IpvsError:
    result = _told(outcome)
    if outcome.broken:
        message = str(outcome.broken)
    elif not outcome.failed:
        message = "another writer keeps putting servers into services that are to be removed"
    else:
        own = (number for number, one in enumerate(outcome.failed) if not raced(*one))
        first = result["failed"][next(own, 0)]
        more = f" (and {len(outcome.failed) - 1} more)" if len(outcome.failed) > 1 else ""
        message = f"the kernel refused {first['operation']}: {first['reason']}{more}"
    if unsettled:
        message += f"; {unsettled}"
    changed = bool(outcome.applied or outcome.unknown)
    return IpvsError(message, changed=changed, diff=plan.diff(), outcome=result)


def _told(outcome: Outcome) -> dict[str, list[Any]]:
    return {name: capped(lines, len(lines)) for name, lines in outcome.result().items()}


def _read_back(plan: Plan, client: Client) -> None:
    """Hold what the kernel now has against what the plan promised: it ignores attributes it does not know, without an
    error. What the plan does not touch is another's business. A reading may be torn by another writer, so it takes two
    to report a difference.

    :raises IpvsError: an object differs.
    """
    keys = {operation.key for operation in plan.operations}
    wrong = _differences(plan, client.entries(keys)) and _differences(plan, client.entries(keys))
    if wrong:
        operation, held = wrong[0]
        line, left = operation_line(operation), _line(operation.key, held) or "nothing"
        if _ignored(operation, held):
            message = f"the kernel accepted {line} but holds {left}"
        else:
            message = f"another program changed the table after {line}, which left {left}; run the task again"
        differences = [{"operation": operation_line(one), "found": _line(one.key, left)} for one, left in wrong]
        raise IpvsError(message, changed=True, diff=plan.diff(), differences=capped(differences, len(differences)))


def _ignored(operation: Operation, held: Union[Service, Server, None]) -> bool:
    """Whether a kernel can have left the object like this after a success: it ignores attributes that it does not know,
    those of tunnels, and no others.
    """
    after = operation.after
    return isinstance(held, Server) and isinstance(after, Server) and held[:-3] == after[:-3]


def _differences(plan: Plan, found: Table) -> list[tuple[Operation, Union[Service, Server, None]]]:
    """What each operation whose object is not as the plan made it has left instead."""
    wrong = []
    for operation in plan.operations:
        entry = found.get(operation.key)
        subject = operation.after or operation.before
        held: Union[Service, Server, None] = None
        if entry is not None:
            held = entry.service if isinstance(subject, Service) else entry.servers.get(subject.key)  # type: ignore[union-attr]
        if plan.keeps_weights and isinstance(held, Server) and isinstance(operation.after, Server):
            held = held._replace(weight=operation.after.weight)
        if held != operation.after:
            wrong.append((operation, held))
    return wrong


def _line(key: ServiceKey, held: Union[Service, Server, None]) -> str:
    if held is None:
        return ""
    return service_line(held) if isinstance(held, Service) else server_line(key, held)
