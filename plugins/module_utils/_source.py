# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""A file on the node that lists services: YAML, JSON, or what ``ipvsadm -Sn`` prints."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from . import _values
from ._errors import Finding, Findings, InvalidInput, Path, Unavailable, at, show_key
from ._files import read
from ._values import Field

#: How commands of ipvsadm begin, right or wrong, and no list or dict of YAML or JSON does.
_COMMANDS = re.compile(r"\s*(#[^\n]*\n\s*)*(--?[A-Za-z]|(\S*/)?ipvsadm\s)")
_EMPTY = (
    "lists nothing: the file may have been cut off, or be what ipvsadm -Sn prints of an empty table; "
    "where no services are meant, write []"
)
_DECIMAL = re.compile(r"(0|-?[1-9][0-9]{0,40})\Z", re.ASCII)
_INTEGER, _NULL = "tag:yaml.org,2002:int", "tag:yaml.org,2002:null"
_FIELDS = (Field("services", lambda value: value, required=True),)
_TWICE = "gives a key twice"


class _Repeated(Exception):
    pass


def load(path: str, findings: Findings) -> tuple[object, bool]:
    """The services that the file lists, still to be parsed by the model, and whether commands of ipvsadm list them; its
    form is told from its content.

    A YAML or JSON file holds a list, or a dict with the list under ``services`` and nothing else. A key that an object
    gives twice is a problem: either value could be the one that is meant.

    :raises InvalidInput: the file cannot be read, or is none of the three.
    :raises Unavailable: it is YAML, and this node's Python has no PyYAML.
    """
    try:
        text = read(path, encoding="utf-8-sig")  # a byte order mark says nothing
    except (OSError, ValueError) as error:
        raise InvalidInput(str(Finding(at("src"), f"cannot be read: {error}", path))) from None
    if _COMMANDS.match(text):
        from . import _ipvsadm  # most files are not of this form

        services = _ipvsadm.parse(text, "src", findings)
        if not services and not findings.problems:
            raise InvalidInput(str(Finding(at("src"), _EMPTY, path)))
        return services, True
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        raise InvalidInput(str(Finding(at("src"), _EMPTY, path)))
    try:
        held = _structured(text, path, findings)
    except RecursionError:
        raise InvalidInput(str(Finding(at("src"), "is nested too deeply", path))) from None
    if isinstance(held, dict):
        held = (_values.record(_FIELDS, held, "src", findings) or {}).get("services", [])
    return held, False


def _structured(text: str, path: str, findings: Findings) -> Any:
    try:
        return _json(text, findings)
    except ValueError:
        pass
    try:
        import yaml
    except ImportError:
        raise Unavailable(
            f"{path} is no JSON, and YAML needs PyYAML on this node: install the package python3-yaml, or write JSON"
        ) from None
    try:
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        root = loader.get_single_node()
        if root is None or (root.tag == _NULL and not root.value):
            raise InvalidInput(str(Finding(at("src"), _EMPTY, path)))
        # YAML has 80 written as 0120, 1:20 and 8_0 too
        loader.yaml_constructors = {**loader.yaml_constructors, _INTEGER: lambda dummy, node: _integer(node.value)}
        # before the loader merges what stands under << into its mapping, where a key may then stand twice
        for line, key in sorted(_repeated_nodes(root)):
            findings.problem(f"src line {line}", _TWICE, key)
        return loader.construct_document(root)
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # all but the first are of values that are not what their tags say: a date that is none
        place = " ".join(str(error).split())
        raise InvalidInput(
            str(Finding(at("src"), f"is neither YAML nor JSON nor ipvsadm commands: {place}", path))
        ) from None


def _json(text: str, findings: Findings) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_int=_integer)
    except _Repeated:
        # an object is not told its place while it is read
        for place, key in _repeated_pairs(json.loads(text, object_pairs_hook=tuple), at("src")):
            findings.problem(place, _TWICE, key)
        return json.loads(text, parse_int=_integer)


def _integer(written: str) -> object:
    """An integer that is written as one; anything else as it is written, which the model refuses by its place."""
    return int(written) if _DECIMAL.match(written) else written


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        raise _Repeated
    return held


def _repeated_pairs(held: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Place and key, wherever an object of JSON, read as a tuple of pairs, has a key twice."""
    if isinstance(held, tuple):
        yield from ((path, key) for key, count in Counter(key for key, dummy in held).items() if count > 1)
        for key, value in held:
            yield from _repeated_pairs(value, at(path, show_key(key)))
    elif isinstance(held, list):
        for i, value in enumerate(held):
            yield from _repeated_pairs(value, at(path, i))


def _repeated_nodes(root: Any) -> Iterator[tuple[int, str]]:
    """Line and key, wherever a mapping of YAML has a key again."""
    seen: set[int] = set()  # an alias is the very node that it stands for, even one around it
    todo = [root]
    while todo:
        node = todo.pop()
        if node.id == "scalar" or id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "sequence":
            todo += node.value
            continue
        first: dict[tuple[str, str], Any] = {}
        for key, value in node.value:
            if key.id == "scalar" and first.setdefault((key.tag, key.value), key) is not key:
                yield key.start_mark.line + 1, key.value
            todo.append(value)
