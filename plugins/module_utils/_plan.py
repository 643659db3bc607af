# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""From the table that is and the table that is wanted to the operations in between: pure, total, ordered.

Check mode, ``changed``, the diff and the requests that are sent all come from the one :class:`Plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Optional, Union

from ._model import (
    Entry,
    Server,
    ServerKey,
    Service,
    ServiceKey,
    Table,
    key_text,
    server_text,
)

#: The actions, in the order in which a plan runs them: whatever carries traffic is in place before anything is taken
#: away, and a weight goes to 0 only when the other servers are ready for the load.
ACTIONS = (
    "add_service",
    "add_server",
    "edit_service",
    "edit_server",
    "quiesce_server",
    "remove_server",
    "remove_service",
)
REMOVALS = frozenset(("remove_server", "remove_service"))
#: The steps that these make: one begins only where all before it succeeded, for the last two take servers from clients.
STEPS = (
    frozenset(("add_service", "add_server", "edit_service", "edit_server")),
    frozenset(("quiesce_server",)),
    REMOVALS,
)
#: More operations than this are counted, not listed: the result of a table of thousands must stay small.
MAX_LISTED = 100
#: So are more services and servers than these lines on each side of a diff.
MAX_LINES = 200


class Operation(NamedTuple):
    """One change of one object. ``before`` is None for an addition, ``after`` is None for a removal."""

    action: str
    key: ServiceKey
    before: Union[Service, Server, None]
    after: Union[Service, Server, None]


class Plan(NamedTuple):
    """Operations in the order in which they run, the table they start from and the table they lead to."""

    current: Table
    predicted: Table
    operations: tuple[Operation, ...]
    #: Whether the weights of servers are another's business once they are there.
    keeps_weights: bool = False

    @property
    def adds_or_removes(self) -> bool:
        """Whether the plan does more than to edit."""
        return any(operation.before is None or operation.after is None for operation in self.operations)

    def diff(self) -> dict[str, str]:
        """The services that the plan touches, before and after, in ipvsadm's notation. Where that takes more than
        :data:`MAX_LINES` lines, the servers that stay as they are go first. What is left out then, both sides leave
        out, and count in the same words.
        """
        touched = sorted({operation.key for operation in self.operations})
        shown = {key: self._servers(key) for key in touched[:MAX_LINES]}
        if sum(1 + len(servers) for servers in shown.values()) > MAX_LINES:
            shown = {key: [one for one in servers if self._differs(key, one)] for key, servers in shown.items()}
        before: list[str] = []
        after: list[str] = []
        room, left = MAX_LINES, len(touched)
        for key, servers in shown.items():
            if not room:
                break
            fitting = servers[: room - 1]
            more = _more(len(servers) - len(fitting), f"servers of {key_text(key)}")
            before += _lines(self.current, key, fitting) + more
            after += _lines(self.predicted, key, fitting) + more
            room -= 1 + len(fitting)
            left -= 1
        more = _more(left, "services")
        return {"before": _text(before + more), "after": _text(after + more)}

    def _servers(self, key: ServiceKey) -> list[ServerKey]:
        """The servers that the service has before or after."""
        return sorted({one for side in (self.current, self.predicted) if key in side for one in side[key].servers})

    def _differs(self, key: ServiceKey, server: ServerKey) -> bool:
        before, after = (side[key].servers.get(server) if key in side else None for side in self[:2])
        return before != after


def _lines(table: Table, key: ServiceKey, servers: Sequence[ServerKey]) -> list[str]:
    """The service, and those of the servers that it has, one line each."""
    from ._text import entry_lines

    if key not in table:
        return []
    service, held = table[key]
    return entry_lines(Entry(service, {one: held[one] for one in servers if one in held}))


def _more(count: int, what: str) -> list[str]:
    return [f"... and {count} more {what}"] if count else []


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def plan(
    current: Table,
    wanted: Table,
    unwanted_services: Collection[ServiceKey] = (),
    unwanted_servers: Collection[tuple[ServiceKey, ServerKey]] = (),
) -> Plan:
    """The operations that make ``wanted`` true and ``unwanted_*`` absent, touching nothing else. An entry of
    ``wanted`` names its service in full, and the servers that must be there; other servers of the service stay
    unless they are unwanted. What is unwanted and not there is no operation. A service that goes takes its
    servers along in one operation.
    """
    additions: list[Operation] = []
    edits: list[Operation] = []
    quiesced: list[Operation] = []
    # of a table that is as it shall be, each entry costs one comparison
    for key in sorted(key for key, entry in wanted.items() if current.get(key) != entry):
        entry, live = wanted[key], current.get(key)
        if live is None:
            additions.append(Operation("add_service", key, None, entry.service))
        elif live.service != entry.service:
            edits.append(Operation("edit_service", key, live.service, entry.service))
        for server_key in sorted(entry.servers):
            server = entry.servers[server_key]
            found = live.servers.get(server_key) if live else None
            if found is None:
                additions.append(Operation("add_server", key, None, server))
            elif found != server:
                drained = found.weight > 0 and server.weight == 0
                operation = Operation("quiesce_server" if drained else "edit_server", key, found, server)
                (quiesced if drained else edits).append(operation)
    gone = {key for key in unwanted_services if key in current}
    removals = [
        Operation("remove_server", key, current[key].servers[server_key], None)
        for key, server_key in sorted(set(unwanted_servers))
        if key in current and key not in gone and server_key in current[key].servers
    ]
    removals += [Operation("remove_service", key, current[key].service, None) for key in sorted(gone)]
    operations = tuple(additions + edits + quiesced + removals)
    return Plan(current, predict(current, operations), operations)


def predict(current: Table, operations: Collection[Operation]) -> Table:
    """The table that ``operations`` lead to from ``current``, which stays as it is."""
    table = dict(current)
    owned: dict[ServiceKey, dict[ServerKey, Server]] = {}

    def servers_of(key: ServiceKey) -> dict[ServerKey, Server]:
        if key not in owned:
            owned[key] = dict(table[key].servers) if key in table else {}
        return owned[key]

    for operation in operations:
        key = operation.key
        subject = operation.after or operation.before
        if operation.action == "remove_service":
            del table[key]
        elif isinstance(subject, Service):
            table[key] = Entry(subject, servers_of(key))
        elif subject is not None:
            servers = servers_of(key)
            if operation.after is None:
                del servers[subject.key]
            else:
                servers[subject.key] = subject
            table[key] = Entry(table[key].service, servers)
    return table


_COMMANDS = {
    "add_service": "-A",
    "edit_service": "-E",
    "remove_service": "-D",
    "add_server": "-a",
    "edit_server": "-e",
    "quiesce_server": "-e",
    "remove_server": "-d",
}


def operation_line(operation: Operation) -> str:
    """The arguments of ipvsadm(8) that would do the same."""
    from ._text import server_options, service_options

    subject: Optional[Union[Service, Server]] = operation.after or operation.before
    line = f"{_COMMANDS[operation.action]} {key_text(operation.key)}"
    if isinstance(subject, Server):
        line += f" -r {server_text(subject.key)}"
    if isinstance(operation.after, Service):
        line += f" {service_options(operation.after)}"
    elif isinstance(operation.after, Server):
        line += f" {server_options(operation.after)}"
    return line


def listed(operations: Sequence[Operation]) -> list[str]:
    """The first :data:`MAX_LISTED` operations in ipvsadm's notation, then how many more there are."""
    return capped([operation_line(operation) for operation in operations[:MAX_LISTED]], len(operations))


def capped(lines: list[Any], count: int) -> list[Any]:
    """At most :data:`MAX_LISTED` of ``count`` lines, then how many more there are."""
    more = [f"... and {count - MAX_LISTED} more"] if count > MAX_LISTED else []
    return lines[:MAX_LISTED] + more
