# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Which entries of the table are ours. The kernel keeps no owner, so a file does, for as long as the kernel keeps the
table: it is void after a boot and in another network namespace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Sequence
from typing import Any, Optional

from . import _module
from ._apply import Outcome, raced
from ._errors import Forbidden, IpvsError
from ._files import read
from ._model import Server, ServerKey, ServiceKey, Table
from ._plan import Operation, Plan
from ._policy import Owned

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def _joined(owned: Owned, added: Sequence[Operation]) -> Owned:
    """``owned`` and what the operations add."""
    services = (one.key for one in added if one.action == "add_service")
    servers = ((one.key, one.after.key) for one in added if isinstance(one.after, Server))
    return Owned(owned.services.union(services), owned.servers.union(servers))


def _without(owned: Owned, operations: Iterable[Operation]) -> Owned:
    """``owned``, without what the operations are about; a service that was there takes its servers along."""
    services, whole, servers = set(), set(), set()
    for one in operations:
        subject = one.after or one.before
        if isinstance(subject, Server):
            servers.add((one.key, subject.key))
            continue
        services.add(one.key)
        if one.before is not None:
            whole.add(one.key)
    kept = (pair for pair in owned.servers if pair[0] not in whole and pair not in servers)
    return Owned(owned.services - services, frozenset(kept))


class Register:
    """The file that holds :class:`Owned` for one network namespace, readable by root only. A run looks at the services
    ``keys``, or without them at all.
    """

    def __init__(self, keys: Optional[Container[ServiceKey]] = None) -> None:
        self._keys = keys
        self.path = os.path.join(_module.STATE_DIR, f"{_module.namespace_id()}.owned")
        self._owned: Optional[Owned] = None

    @property
    def owned(self) -> Owned:
        """What is ours; the file is read when this is first asked for, which most runs never do.

        :raises IpvsError: the file cannot be read or understood.
        """
        if self._owned is None:
            self._owned = self._load()
        return self._owned

    def claim(self, plan: Plan) -> None:
        """Write down what ``plan`` is about to add as ours. One that only edits does without the record."""
        if plan.adds_or_removes:
            self._store(_joined(self.owned, [one for one in plan.operations if one.before is None]))

    def conclude(self, plan: Plan) -> None:
        """Strike out what the last plan of a run leaves absent. The readings before it may have been torn by another's
        hand, which is why it is the last.
        """
        if plan.adds_or_removes:
            self.strike(plan.predicted)

    def strike(self, table: Table) -> None:
        """Strike out what is not in ``table``: if it comes back, another has made it."""
        services, servers = self.missing(table)
        self._store(Owned(self.owned.services - services, self.owned.servers - servers))

    def settle(self, outcome: Outcome) -> None:
        """Strike out what was removed, what was claimed and not added, and what came or went by another's hand. What
        nobody knows the outcome of is left to the next reading.
        """
        lost = [one for one in outcome.applied if one.after is None]
        lost += [one for one in outcome.not_attempted if one.before is None]
        lost += [one for one, number in outcome.failed if one.before is None or raced(one, number)]
        if lost:
            self._store(_without(self.owned, lost))

    def missing(self, table: Table) -> Owned:
        """What is ours and not in ``table``, of the services that this run looks at."""

        def seen(key: ServiceKey) -> bool:
            return self._keys is None or key in self._keys

        return Owned(
            frozenset(key for key in self.owned.services if key not in table and seen(key)),
            frozenset(
                (key, one)
                for key, one in self.owned.servers
                if (key not in table or one not in table[key].servers) and seen(key)
            ),
        )

    def _load(self) -> Owned:
        """What is ours; nothing if the file is not there, from before the last boot or of a namespace that is gone."""
        try:
            held = json.loads(read(self.path))
            if (held["boot_id"], held.get("cookie")) != (_boot_id(), _module.namespace_cookie()):
                return Owned()
            servers = ((_service_key(*key), listed) for key, listed in held["servers"])
            return Owned(
                frozenset(_service_key(*key) for key in held["services"]),
                frozenset((key, _server_key(*server)) for key, listed in servers for server in listed),
            )
        except FileNotFoundError:
            return Owned()
        except PermissionError:
            raise Forbidden(f"{self.path} is for root alone: run the task as root (become: true)") from None
        except OSError as error:
            raise IpvsError(f"the ownership file {self.path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IpvsError(
                f"the ownership file {self.path} cannot be understood ({error}): remove it, and nothing counts as ours"
            ) from None

    def _store(self, owned: Owned) -> None:
        """Replace the file, whole or not at all, if there is something new.

        :raises IpvsError: it cannot be written.
        """
        if owned == self.owned:
            return
        servers: dict[ServiceKey, list[tuple[Any, ...]]] = {}
        for key, server in owned.servers:
            servers.setdefault(key, []).append(_plain_server(server))
        held = {
            "boot_id": _boot_id(),
            "cookie": _module.namespace_cookie(),
            "services": [_plain_service(key) for key in owned.services],
            "servers": [(_plain_service(key), listed) for key, listed in servers.items()],
        }
        staged = f"{self.path}.new"
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(json.dumps(held, separators=(",", ":")))  # json.dump would take the slow encoder
                file.flush()
                os.fsync(file.fileno())
            os.replace(staged, self.path)
        except OSError as error:
            raise IpvsError(f"the ownership file {self.path} cannot be written: {error.strerror}") from None
        self._owned = owned


def _boot_id() -> str:
    return read(BOOT_ID).strip()


def _plain_service(key: ServiceKey) -> tuple[Any, ...]:
    return key.fwmark, key.family, key.protocol, key.address.hex(), key.port


def _service_key(fwmark: int, family: int, protocol: int, address: str, port: int) -> ServiceKey:
    _check_numbers(fwmark, family, protocol, port)
    return ServiceKey(fwmark, family, protocol, bytes.fromhex(address), port)


def _plain_server(key: ServerKey) -> tuple[Any, ...]:
    return key.family, key.address.hex(), key.port


def _server_key(family: int, address: str, port: int) -> ServerKey:
    _check_numbers(family, port)
    return ServerKey(family, bytes.fromhex(address), port)


def _check_numbers(*held: object) -> None:
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in held):
        raise ValueError("a key holds what is no integer")
