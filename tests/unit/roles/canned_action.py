# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module of the collection as an action that changes nothing: it records the call and returns a canned result.

Everything around it is Ansible's own: templates, facts, ``run_once``, workers.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The canned result of a module is in the host variable ``canned``, by the name of the module."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        name = self._task.action.rpartition(".")[2]
        variables = task_vars or {}
        call = {
            "host": variables["inventory_hostname"],
            "module": name,
            "parameters": self._task.args,
            "check": self._task.check_mode,
        }
        with open(os.environ["CANNED_CALLS"], "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(call) + "\n")
        result = {"changed": False, **variables["canned"].get(name, {})}
        if result.get("unreachable"):
            raise AnsibleConnectionFailure("canned")
        if name == "ipvs_probe":
            result["targets"] = [_answered(target, variables["canned_names"]) for target in self._task.args["targets"]]
        return result


def _answered(target: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Each server answers as often as the others."""
    attempts = target["count"]
    told = {key: target[key] for key in ("name", "address", "port", "protocol") if key in target}
    return {
        **told,
        "attempts": attempts,
        "answers": dict.fromkeys(names, attempts // len(names)),
        "failures": {},
        "by_port": {},
    }
