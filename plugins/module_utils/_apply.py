# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""A plan carried out: requests sent in the plan's order, every refusal explained, nothing taken after a failure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional, Protocol

from ._encode import write_request
from ._errors import IpvsError
from ._model import AF_INET6, Service
from ._plan import REMOVALS, STEPS, Operation, Plan, operation_line
from ._wire import Request


class Writer(Protocol):
    """The part of :class:`_client.Client` that a plan needs."""

    def write(self, requests: Iterable[Request]) -> Any:
        """Send the requests in order -> ``_client.Written``."""


class Outcome(NamedTuple):
    """What became of a plan's operations; ``failed`` pairs each with its errno. Where the session has ``broken`` off,
    nobody knows how far the kernel got with the ``unknown`` ones, but every step of a plan is safe to stop at.
    """

    applied: tuple[Operation, ...]
    failed: tuple[tuple[Operation, int], ...]
    not_attempted: tuple[Operation, ...]
    unknown: tuple[Operation, ...] = ()
    broken: Optional[IpvsError] = None

    def result(self) -> dict[str, list[Any]]:
        """The outcome as a module returns it, operations in ipvsadm's notation."""
        refused = {one.key for one, number in self.failed if one.action == "add_service" and not raced(one, number)}
        return {
            "applied": [operation_line(operation) for operation in self.applied],
            "failed": [
                {
                    "operation": operation_line(operation),
                    "reason": "its service was refused"
                    if number == errno.ESRCH and operation.key in refused
                    else reason(operation, number),
                }
                for operation, number in self.failed
            ],
            "not_attempted": [operation_line(operation) for operation in self.not_attempted],
            "unknown": [operation_line(operation) for operation in self.unknown],
        }

    @property
    def stopped(self) -> bool:
        """Whether some of the plan is left undone."""
        return bool(self.failed or self.not_attempted or self.broken)

    @property
    def raced(self) -> bool:
        """Whether whatever stopped it tells of another writer: a thing came or went after the reading."""
        return all(raced(operation, number) for operation, number in self.failed)


def raced(operation: Operation, number: int) -> bool:
    """Whether the errno of a failed operation tells that its object came or went meanwhile."""
    if number == errno.ENOENT:
        return operation.action in ("edit_server", "quiesce_server", "remove_server")
    return number == errno.ESRCH or (number == errno.EEXIST and operation.before is None)


def apply(plan: Plan, writer: Writer, holds: Callable[[Plan], bool]) -> Outcome:
    """Carry out the plan, step by step. None begins unless everything before it succeeded, and no removal after other
    steps, which take their time, unless the plan still ``holds``.
    """
    applied: list[Operation] = []
    remaining = list(plan.operations)
    while remaining:
        actions = next(actions for actions in STEPS if remaining[0].action in actions)
        if applied and actions is REMOVALS:
            broken: Optional[IpvsError] = None
            try:
                held = holds(plan)
            except IpvsError as error:
                held, broken = False, error
            if not held:
                return Outcome(tuple(applied), (), tuple(remaining), (), broken)
        step = [operation for operation in remaining if operation.action in actions]
        written = writer.write(_request(operation) for operation in step)
        sent = written.answered + written.unknown
        answered, unknown = step[: written.answered], step[written.answered : sent]
        failed = tuple((answered[index], number) for index, number in sorted(written.errors.items()))
        applied += [operation for index, operation in enumerate(answered) if index not in written.errors]
        remaining = remaining[sent:]
        if failed or written.broken:
            return Outcome(tuple(applied), failed, tuple(remaining), tuple(unknown), written.broken)
    return Outcome(tuple(applied), (), ())


def _request(operation: Operation) -> Request:
    subject = operation.after or operation.before
    if subject is None:
        raise ValueError("an operation without a subject")
    return write_request(operation.action, operation.key, subject)


def reason(operation: Operation, number: int) -> str:
    """Why the kernel refused the operation, in words. It gives no more than an errno (ip_vs_ctl.c)."""
    service = isinstance(operation.after or operation.before, Service)
    if number == errno.ENOENT and isinstance(operation.after, Service):
        engine = f" or ip_vs_pe_{operation.after.engine}" if operation.after.engine else ""
        return f"this kernel has no module ip_vs_{operation.after.scheduler}{engine}"
    if number == errno.EAFNOSUPPORT or (number == errno.EINVAL and operation.key.family == AF_INET6 and service):
        return "IPv6 is disabled on this host, or in this kernel's IPVS"
    if number == errno.EINVAL and not service:
        return (
            "the kernel takes this address or combination for invalid: no unicast address of this host's networks, "
            "a network namespace that has no address yet, mixed families while a sync daemon runs, "
            "or too many servers for the scheduler"
        )
    words = {
        errno.ENOENT: "the server is gone: another writer is changing the table",
        errno.ESRCH: "the service is gone: another writer is changing the table",
        errno.EEXIST: "it exists: another writer is changing the table",
        errno.ERANGE: "a weight or threshold is out of the kernel's range",
        errno.EPERM: "it needs CAP_NET_ADMIN in the initial user namespace: run the task as root (become: true)",
        errno.ENOMEM: "the kernel is out of memory",
        errno.ENOBUFS: "the kernel is out of memory",
    }
    return words.get(number, os.strerror(number))
