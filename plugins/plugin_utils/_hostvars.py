# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The variables of hosts as Ansible gives them to a filter, read once each. Pure.

Ansible works out all variables of a host each time the host is looked up in ``hostvars``, and renders a variable each
time it is read.

What a host returns as a fact wins over its variable of the same name in the inventory, unless the setting
``inject_facts_as_vars`` of Ansible is off: a host that is not to be trusted could have the traffic of a service sent to
where it likes. So a variable that is a fact as well is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ..module_utils._errors import MAX_BITS, Finding, InvalidInput, show, show_key

FACTS = "ansible_facts"
#: More than any variable of an inventory holds.
MAX_VALUES = 3_000_000
#: Variables that Ansible takes from no fact.
_NEVER_FACTS = frozenset((FACTS, "ansible_host"))
#: The rule that such a variable breaks.
FACT = (
    "is a fact that the host returned, which wins over the inventory: set inject_facts_as_vars = false in ansible.cfg, "
    "or let nothing on the host return it"
)


class Variables(Mapping[str, Any]):
    """The variables of one ``host``, each rendered when it is read first; ``injected`` tells whether facts win over
    them.
    """

    def __init__(self, given: Mapping[str, Any], host: str = "", injected: bool = False) -> None:
        self._given = given
        self._host = host
        self._injected = injected
        self._facts: Optional[Mapping[str, Any]] = None
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            value = plain(self._given[name])
            self.refuse_fact(name)
            self._read[name] = value
        return self._read[name]

    def is_fact(self, name: str) -> bool:
        """Whether the host may have said what its variable ``name`` is."""
        if not self._injected or name in _NEVER_FACTS:
            return False
        if self._facts is None:
            facts = self._given.get(FACTS, {})
            self._facts = facts if isinstance(facts, Mapping) else {}
        # Ansible lists facts without this beginning, and makes variables of them with it
        return (name[len("ansible_") :] if name.startswith("ansible_") else name) in self._facts

    def refuse_fact(self, name: str) -> None:
        """Refuse the variable ``name`` if the host may have said what it is.

        :raises InvalidInput: it may.
        """
        if self.is_fact(name):
            told = str(Finding(self.path(name), FACT))
            raise InvalidInput(told, problems=[told])

    def path(self, name: str) -> str:
        """Where the variable is, in what is told of it."""
        return f"hostvars.{show_key(self._host)}.{show_key(name)}"

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


class Hostvars(Mapping[str, Variables]):
    """The variables of all hosts, each host looked up when it is read first."""

    def __init__(self, given: Mapping[str, Mapping[str, Any]], injected: bool = False) -> None:
        self._given = given
        self._injected = injected
        self._read: dict[str, Variables] = {}

    def __getitem__(self, host: str) -> Variables:
        if host not in self._read:
            self._read[host] = Variables(self._given[host], host, self._injected)
        return self._read[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def plain(value: Any) -> Any:
    """A value without what Ansible keeps in it: templates that are rendered when they are read, and texts that are
    decrypted by ``str`` alone (ansible-core 2.18). Integers too long for a text are what is shown of them.

    :raises InvalidInput: it holds more than any inventory does.
    """
    return _plain(value, itertools.count(1))


def _plain(value: Any, counter: Iterator[int]) -> Any:
    if next(counter) > MAX_VALUES:
        raise InvalidInput(
            f"a variable holds more than {MAX_VALUES} values, as anchors of YAML make them out of few lines"
        )
    if isinstance(value, Mapping):
        return {_plain_scalar(key): _plain(item, counter) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, counter) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return show(value)
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value
