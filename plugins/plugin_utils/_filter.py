# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What the filters of the collection take from Ansible, and how they tell it of invalid input."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ansible import constants
from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ._hostvars import Hostvars
from ._resolve import Inventory


def given(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    pools: Optional[Mapping[str, Any]] = None,
) -> Inventory:
    """The inventory as Ansible gives it to a filter."""
    injected = bool(constants.config.get_config_value("INJECT_FACTS_AS_VARS"))
    return Inventory(Hostvars(hostvars, injected), groups, pools or {})


def tells_invalid_input(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter ``function``, with its invalid input told as AnsibleFilterError, the whole text."""

    @functools.wraps(function)
    def told(*args: Any, **options: Any) -> Any:
        try:
            return _bounded(function, *args, **options)
        except InvalidInput as error:
            raise AnsibleFilterError(str(error)) from error

    return told


def _bounded(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return function(*args, **options)
    except RecursionError:
        raise InvalidInput("a value in the input is nested too deeply") from None


def returns_invalid_input(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter ``function``, which judges, with its invalid input among its problems if ``invalid`` is ``return``:
    an error in a template is reported by ansible-core four times over, with the origin of each level.
    """
    raising = tells_invalid_input(function)

    @functools.wraps(function)
    def judged(*args: Any, invalid: str = "raise", **options: Any) -> Any:
        if invalid == "raise":
            return raising(*args, **options)
        try:
            return _bounded(function, *args, **options)
        except InvalidInput as error:
            problems = error.details.get("problems", [str(error)])
            return {"problems": problems, "warnings": [], "not_checked": [], "invalid": True}

    return judged
