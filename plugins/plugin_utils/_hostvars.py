# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The variables of hosts as Ansible gives them to a filter, read once each. Pure.

Ansible works out all variables of a host each time the host is looked up in ``hostvars``, and renders a variable each
time it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Variables(Mapping[str, Any]):
    """The variables of one host, each rendered when it is read first."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = plain(self._given[name])
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


class Hostvars(Mapping[str, Variables]):
    """The variables of all hosts, each host looked up when it is read first."""

    def __init__(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        self._given = given
        self._read: dict[str, Variables] = {}

    def __getitem__(self, host: str) -> Variables:
        if host not in self._read:
            self._read[host] = Variables(self._given[host])
        return self._read[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def plain(value: Any) -> Any:
    """A value without what Ansible keeps in it: templates that are rendered when they are read, and texts that are
    decrypted by ``str`` alone (ansible-core 2.18).
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value
