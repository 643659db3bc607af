# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What can go wrong, and the one form in which bad input is reported."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, TypeVar, Union

#: More problems than this are counted, not listed: the reader fixes the first ones and runs again.
MAX_LISTED = 20
MAX_VALUE = 80
MAX_BITS = 256

T = TypeVar("T")


class IpvsError(Exception):
    """A failure told in one sentence.
    ``str(error)`` is the sentence for the user; ``details`` are JSON-able keys that go into the module's result beside
    ``msg``.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class InvalidInput(IpvsError):
    """The task's parameters break a rule; nothing has been read or written."""


class Unavailable(IpvsError):
    """The kernel or the host lacks something the task needs (a module, a tool, a library)."""


class Forbidden(IpvsError):
    """The process lacks a capability."""


class KernelRefused(IpvsError):
    """The kernel answered a request with an error number, kept in ``errno``."""

    def __init__(self, message: str, errno: int, **details: Any) -> None:
        super().__init__(message, **details)
        self.errno = errno


def show(value: object) -> str:
    """A value in a message: no character of it acts on a terminal, and of a long one only the beginning is looked at.
    The anchors of nine lines of YAML make a value whose whole text fits in no memory.
    """
    shown = ""
    for piece in _pieces(value):
        shown += piece
        if len(shown) > MAX_VALUE:
            return shown[: MAX_VALUE - 3] + "..."
    return shown


def _pieces(value: object) -> Iterator[str]:
    """The text of a value, piece by piece, as ``repr`` has it."""
    if isinstance(value, Mapping):
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield ", " if i else ""
            yield from _pieces(key)
            yield ": "
            yield from _pieces(item)
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "[" if isinstance(value, list) else "("
        for i, item in enumerate(value):
            yield ", " if i else ""
            yield from _pieces(item)
        yield "]" if isinstance(value, list) else ",)" if len(value) == 1 else ")"
    elif isinstance(value, (str, bytes, bytearray)):
        yield repr(value[: MAX_VALUE + 1])
    elif isinstance(value, int) and value.bit_length() > MAX_BITS:
        yield f"an integer of {value.bit_length()} bits"  # Python makes no text of the longest ones
    else:
        yield repr(value)


def show_key(key: object) -> str:
    """A key in a path: as written, unless that would act on a terminal or take long."""
    if not isinstance(key, str):
        return show(key)
    return key if key.isprintable() and len(key) <= MAX_VALUE else show(key)


def show_names(names: Collection[object]) -> str:
    """The first of some names that a user gave, to choose from."""
    more = len(names) - MAX_LISTED
    return ", ".join(map(show_key, itertools.islice(names, MAX_LISTED))) + (f" and {more} more" if more > 0 else "")


class Path(tuple[Union[str, int], ...]):
    """Where a value stands: from the option on the names of keys and the indexes of items. It becomes text for a reader
    alone.
    """

    def __str__(self) -> str:
        first, *others = self or ("",)
        return str(first) + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in others)

    def below(self, other: Path) -> Optional[Path]:
        """The rest of this path, which begins with the ``other``; ``None`` if it does not."""
        return Path(self[len(other) :]) if self[: len(other)] == other else None


#: A path, or the name of an option alone; "" is the task itself.
Place = Union[str, Path]


def at(place: Place, *parts: Union[str, int]) -> Path:
    """The path of what stands at ``parts`` below ``place``."""
    return Path(((place,) if place else ()) + parts if isinstance(place, str) else (*place, *parts))


class Finding(NamedTuple):
    """One broken rule: where, which, and the value (``None`` where the value is what is missing). ``subject`` names the
    object of the table that breaks it, if the rule is about what an object is and not about how it was written; logic
    knows such a rule by its ``rule_id``.
    """

    path: Path
    rule: str
    value: Optional[object] = None
    subject: Optional[object] = None
    rule_id: Optional[str] = None

    def __str__(self) -> str:
        told = f"{self.path}: {self.rule}"
        return told if self.value is None else f"{told} (got {show(self.value)})"


class BadValue(ValueError):
    """One value breaks one rule; ``str(error)`` is the rule. Parsers raise it, :class:`Findings` gives it a path."""

    def findings(self, path: Path, value: object) -> list[Finding]:
        """What to tell of the value at ``path``."""
        return [Finding(path, str(self), value)]


class BadItems(BadValue):
    """Items of a list break rules, each by its index."""

    def __init__(self, items: Sequence[tuple[int, BadValue, object]]) -> None:
        super().__init__("; ".join(f"[{i}]: {error}" for i, error, dummy in items))
        self._items = items

    def findings(self, path: Path, value: object) -> list[Finding]:
        return [one for i, error, item in self._items for one in error.findings(at(path, i), item)]


class Findings:
    """Collects every problem and warning of one task, so that all of them are told at once."""

    def __init__(self) -> None:
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []

    def problem(self, path: Place, rule: str, value: Optional[object] = None) -> None:
        self.problems.append(Finding(at(path), rule, value))

    def refused(self, path: Place, error: BadValue, value: object) -> None:
        """A parser refused the value."""
        self.problems += error.findings(at(path), value)

    def warning(self, path: Place, rule: str, value: Optional[object] = None) -> None:
        self.warnings.append(Finding(at(path), rule, value))

    @property
    def full(self) -> bool:
        """Whether no further problem is listed."""
        return len(self.problems) >= MAX_LISTED

    def settled(self, value: Optional[T]) -> T:
        """``value``, which only a problem can have kept from being there.

        :raises InvalidInput: there is a problem.
        """
        self.raise_problems()
        if value is None:
            raise ValueError("a value is missing without a problem that says why")
        return value

    def parsed(self, value: Optional[T]) -> T:
        """``value`` as :meth:`settled`, but problems with a subject wait for what is live."""
        return self.settled(value) if value is None or any(one.subject is None for one in self.problems) else value

    @staticmethod
    def listed(findings: Sequence[Finding]) -> list[str]:
        """The first :data:`MAX_LISTED`, then how many more there are."""
        more = [f"... and {len(findings) - MAX_LISTED} more"] if len(findings) > MAX_LISTED else []
        return [*map(str, findings[:MAX_LISTED]), *more]

    def raise_problems(self) -> None:
        """Raise :class:`InvalidInput` naming every problem, at most :data:`MAX_LISTED` of them; return if there is
        none.
        """
        if not self.problems:
            return
        listed = self.listed(self.problems)
        raise InvalidInput("; ".join(listed), problems=listed)
