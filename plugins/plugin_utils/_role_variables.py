# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The variables of the roles: which there are, and what a role really got. Pure.

A role publishes its variables as a fact of its host, because ``hostvars`` shows neither those beside a role in a play
nor those of the play.
"""

from __future__ import annotations

import difflib
import itertools
from collections import ChainMap
from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils._errors import Findings
from ._hostvars import Variables

#: The variables of each role, by the beginning of their names: those of its argument specs, and the hosts it is for.
KNOWN = {
    "ipvs_director_": (
        *("allow", "hosts", "keep_weights", "lint_allow", "manage_packages", "max_removals", "not_ready", "pools"),
        *("purge", "services", "snat_source", "state", "sysctls", "vip", "vip_interface", "vip_prefix"),
    ),
    "ipvs_backend_": (
        *("addresses", "allow", "hosts", "lint_allow", "manage_packages", "pools", "purge", "return_direct"),
        *("return_macs", "return_match", "return_to", "return_via", "services", "state", "sysctls", "vip_interface"),
    ),
}
#: The facts with the variables that a host's role got.
PUBLISHED = ("__ipvs_director_published", "__ipvs_backend_published")


class Given(Mapping[str, Mapping[str, Any]]):
    """The variables of all hosts, those that a role published before those of the inventory."""

    def __init__(self, hostvars: Mapping[str, Variables]) -> None:
        self._hostvars = hostvars

    def __getitem__(self, host: str) -> Mapping[str, Any]:
        variables = self._hostvars[host]
        published = [variables[fact] for fact in PUBLISHED if fact in variables]
        for name in itertools.chain(*published):
            variables.refuse_facts(name)  # or the role got it from there
        return ChainMap(*published, variables)  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        return iter(self._hostvars)

    def __len__(self) -> int:
        return len(self._hostvars)


def check_names(hosts: Iterable[str], given: Mapping[str, Mapping[str, Any]], findings: Findings) -> None:
    """Every variable that begins as those of a role do must be one of them, for the role would not read it."""
    unknown: dict[str, list[str]] = {}
    for host in dict.fromkeys(hosts):
        for variable in given[host]:
            for prefix, known in KNOWN.items():
                if variable.startswith(prefix) and variable[len(prefix) :] not in known:
                    unknown.setdefault(variable, []).append(host)
    for variable, names in sorted(unknown.items()):
        whose = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        findings.problem(variable, f"unknown variable of {whose}; {_hint(variable)}")


def _hint(variable: str) -> str:
    prefix = next(one for one in KNOWN if variable.startswith(one))
    near = difflib.get_close_matches(variable[len(prefix) :], KNOWN[prefix], 1)
    return f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(prefix + one for one in KNOWN[prefix])}"
