# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""A file on the node that lists services: YAML, JSON, or what ``ipvsadm -Sn`` prints."""

from __future__ import annotations

import json
import re
from typing import Any

from ._errors import Finding, Findings, InvalidInput, Unavailable

_COMMANDS = re.compile(r"\s*(#[^\n]*\n\s*)*(-[Aa]|--add-(service|server))\s")


def load(path: str, findings: Findings) -> object:
    """The services that the file lists, still to be parsed by the model; its form is told from its content.

    A YAML or JSON file holds a list, or a dict with the list under ``services``.

    :raises InvalidInput: the file cannot be read, or is none of the three.
    :raises Unavailable: it is YAML, and this node's Python has no PyYAML.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise InvalidInput(str(Finding("src", f"cannot be read: {error}", path))) from None
    if _COMMANDS.match(text):
        from . import _ipvsadm  # most files are not of this form

        return _ipvsadm.parse(text, "src", findings)
    held = _structured(text, path)
    return held["services"] if isinstance(held, dict) and "services" in held else held


def _structured(text: str, path: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidInput(str(Finding("src", "is nested too deeply", path))) from None
    except ValueError:
        pass
    try:
        import yaml
    except ImportError:
        raise Unavailable(
            f"{path} is no JSON, and YAML needs PyYAML on this node: install the package python3-yaml, or write JSON"
        ) from None
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        place = " ".join(str(error).split())
        raise InvalidInput(
            str(Finding("src", f"is neither YAML nor JSON nor ipvsadm commands: {place}", path))
        ) from None
