# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests: a module's real main(), run in this process."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict

import pytest
from ansible.module_utils import basic

from plugins.module_utils import _module


class ModuleExit(Exception):
    """Stands for the end of the module's process; carries its result."""


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[..., Dict[str, Any]]:
    """run_main(main, params, check=False, diff=False) -> the result; a failure is a result with ``failed: True``.

    Warnings are in ``result["warnings"]``. The lock lives in the test's own directory.
    """
    monkeypatch.setattr(_module, "LOCK_DIR", str(tmp_path / "lock"))

    def run(main: Callable[[], None], params: Dict[str, Any], check: bool = False, diff: bool = True) -> Dict[str, Any]:
        warnings: list[str] = []

        def leave(dummy: Any, failed: bool = False, **result: Any) -> None:
            raise ModuleExit({"failed": failed, "warnings": warnings, **json.loads(json.dumps(result))})

        arguments = {**params, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": str(tmp_path)}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(basic.AnsibleModule, "exit_json", lambda self, **kw: leave(self, **kw))
        monkeypatch.setattr(basic.AnsibleModule, "fail_json", lambda self, msg, **kw: leave(self, failed=True, msg=msg, **kw))
        monkeypatch.setattr(basic.AnsibleModule, "warn", lambda dummy, warning: warnings.append(warning))
        with pytest.raises(ModuleExit) as caught:
            main()
        return caught.value.args[0]

    return run
