# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The variables of hosts as Ansible gives them to a filter, read once each. Pure.

Ansible works out all variables of a host each time the host is looked up in ``hostvars``, and renders a variable each
time it is read.

What a host returns as a fact wins over its variable of the same name in the inventory, unless the setting
``inject_facts_as_vars`` of Ansible is off: a host that is not to be trusted could have the traffic of a service sent to
where it likes. So a variable that is a fact as well is refused, also one that a template in the inventory names, and
so is any fact with the name of a variable of this collection or of one by which Ansible names hosts and groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta

from ..module_utils._errors import MAX_BITS, Finding, Findings, InvalidInput, at, show, show_key

FACTS = "ansible_facts"
#: More than any variable of an inventory holds.
MAX_VALUES = 3_000_000
#: Variables that Ansible takes from no fact.
_NEVER_FACTS = frozenset((FACTS, "ansible_host"))
#: What facts must not be called: the variables of the collection, and what Ansible keeps with those of the inventory
#: (Host.get_magic_vars).
_RESERVED = ("ipvs_", "__ipvs_", "inventory_hostname", "group_names")
#: The rule that such a variable breaks.
FACT = (
    "is a fact that the host returned, which wins over the inventory: set inject_facts_as_vars = false in ansible.cfg, "
    "or let nothing on the host return it"
)

_TEMPLATES = Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])


class Variables(Mapping[str, Any]):
    """The variables of one ``host``, each rendered when it is read first; ``injected`` says whether facts win over
    them.
    """

    def __init__(self, given: Mapping[str, Any], host: str = "", injected: bool = False) -> None:
        self._given = given
        self._host = host
        # ansible-core keeps here what is not rendered yet
        self._raw: Mapping[str, Any] = getattr(given, "_vars", given)
        facts = self._raw.get(FACTS) if injected else None
        self._facts: Mapping[str, Any] = facts if isinstance(facts, Mapping) else {}
        self._read: dict[str, Any] = {}
        names = [name for name in self._facts if isinstance(name, str)]
        self._shadowed = {name for name in names if name in self._raw and not name.startswith("ansible_")}
        self._reserved = [name for name in names if name.startswith(_RESERVED)]

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            value = plain(self._given[name])
            self.refuse_facts(name)
            self._read[name] = value
        return self._read[name]

    def refuse_facts(self, name: str) -> None:
        """Refuse the variable ``name`` if the host may have set it, or one that it is made of.

        :raises InvalidInput: it may.
        """
        findings = Findings()
        findings.problems += self.refused([name])
        findings.raise_problems()

    def refused(self, names: Iterable[str]) -> list[Finding]:
        """The problem with each fact whose name is not for facts, else with each of the variables ``names`` that the
        host may have set itself, or that is made of one.
        """
        found = self._reserved or sorted({fact for name in names for fact in self._facts_in(name)})
        return [Finding(at("hostvars", show_key(self._host), show_key(name)), FACT) for name in found]

    def _facts_in(self, name: str) -> set[str]:
        """The facts among a variable and those that its template names.

        A template that names ``ansible_facts``, or a variable that begins with ``ansible_``, asks for a fact.
        """
        seen, waiting = {name}, [name] if self._shadowed else []
        while waiting:
            names = _named_in(self._raw.get(waiting.pop())) - seen
            seen |= names
            waiting += names
        return (seen & self._shadowed) | ({name} if self._is_fact(name) else set())

    def _is_fact(self, name: str) -> bool:
        # Ansible lists facts without this beginning, and makes variables of them with it
        return name not in _NEVER_FACTS and (
            (name[len("ansible_") :] if name.startswith("ansible_") else name) in self._facts
        )

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
        findings = Findings()
        findings.problems += self.refused(host)
        findings.raise_problems()
        return self._read[host]

    def refused(self, host: str, names: Iterable[str] = ()) -> list[Finding]:
        """The problem with each fact of a host whose name is not for facts, else with those of its variables ``names``
        that it may have set itself.
        """
        if host not in self._read:
            self._read[host] = Variables(self._given[host], host, self._injected)
        return self._read[host].refused(names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def _named_in(raw: object) -> set[str]:
    """The variables that the templates in a value name."""
    if isinstance(raw, str):
        if "{" not in raw:
            return set()
        try:
            return meta.find_undeclared_variables(_TEMPLATES.parse(raw))
        except TemplateSyntaxError:
            return set()  # rendering it reports that
    if isinstance(raw, Mapping):
        return set().union(*map(_named_in, raw.values()))
    if isinstance(raw, (list, tuple)):
        return set().union(*map(_named_in, raw))
    return set()


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
