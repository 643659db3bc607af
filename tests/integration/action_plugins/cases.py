# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's cases in one go on the node, for the price of little more than one task.

    - name: Check every scheduler
      cases:
        module: ipvs_service                          # of this collection
        params: {netns: blue}                         # of every case
        witness: [[ip, netns, exec, blue, ipvsadm, -Sn]]
        always: ["-A -t 192.0.2.99:80 -s rr"]         # what the witness shows besides: the entries of somebody else
        preload: [pyroute2]                           # what the module imports late, for speed
        feedback: {service: ""}                       # result key -> option it is given back as ("": several of them)
        cases:
          - params: {address: 192.0.2.10, port: 80}
            lines: ["-A -t 192.0.2.10:80 -s wlc"]     # all that the witness shows then, in any order
            changed: true                             # the default
            warns: ...                                # part of a warning
          - params: {address: 192.0.2.10, port: true}
            fails: must be an integer                 # part of the message; nothing is written

A case is run in check mode, for real, and a second time, and its result is fed back unless its state is absent. Check
mode must change nothing and foretell what the real run does, and the last two runs must change nothing. Each case
starts from what the one before left. The module is the real one in a process of its own, less the connection, which the
other tasks of the target prove.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import ansible
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

OPTIONS = {"module", "params", "witness", "always", "feedback", "preload", "cases"}
CASE = {"params", "lines", "changed", "warns", "fails"}
HERE = Path(__file__).resolve().parents[1]
COLLECTION = HERE.parents[1]
CORE = Path(ansible.__path__[0])


def payload() -> bytes:
    """A zip of what the node needs: the collection's modules, Ansible's module_utils, and what drives them."""
    files = {"cases.py": HERE / "cases.py", "ansible/release.py": CORE / "release.py"}
    for path in sorted((CORE / "module_utils").rglob("*.py")):
        files[f"ansible/{path.relative_to(CORE)}"] = path
    for folder in ("modules", "module_utils"):
        for path in sorted((COLLECTION / "plugins" / folder).glob("*.py")):
            files[f"ansible_collections/l4lb/ipvs/plugins/{folder}/{path.name}"] = path
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("ansible/__init__.py"), "")
        for name, path in files.items():
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action plugin ``cases``."""

    _requires_connection = True

    def run(self, tmp: object = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        order = self.order()
        directory = self.upload()
        answer = self._low_level_execute_command(
            f"python3 {directory}/cases.py", in_data=json.dumps(order).encode(), sudoable=False
        )
        if answer["rc"] != 0:
            raise AnsibleActionFail(f"the cases were not run: {answer['stdout']}{answer['stderr']}")
        problems = json.loads(answer["stdout"])
        listed = [
            f"  {json.dumps(case['params'])}\n    {problem}"
            for case, problem in zip(order["cases"], problems)
            if problem
        ]
        result["cases"] = len(problems)
        if listed:
            result.update(failed=True, msg=f"{len(listed)} of {len(problems)} cases failed:\n" + "\n".join(listed))
        return result

    def order(self) -> dict[str, Any]:
        given = self._task.args
        wrong = set(given) - OPTIONS
        for case in given["cases"]:
            wrong |= set(case) - CASE
            if ("lines" in case) == ("fails" in case):
                wrong.add("a case without lines or fails, or with both")
        if wrong or not given["cases"]:
            raise AnsibleActionFail(f"cases: not understood: {', '.join(sorted(wrong)) or 'no cases'}")
        return {
            "module": f"ansible_collections.l4lb.ipvs.plugins.modules.{given['module']}",
            "params": given.get("params", {}),
            "witness": given["witness"],
            "always": given.get("always", []),
            "feedback": given.get("feedback", {}),
            "preload": given.get("preload", []),
            "cases": given["cases"],
        }

    def upload(self) -> str:
        """The directory on the node that holds the payload: sent once for each content."""
        content = payload()
        directory = f"/var/tmp/l4lb-cases-{hashlib.sha256(content).hexdigest()[:16]}"
        if self._low_level_execute_command(f"test -d {directory}", sudoable=False)["rc"] == 0:
            return directory
        with tempfile.NamedTemporaryFile(suffix=".zip") as local:
            local.write(content)
            local.flush()
            self._connection.put_file(local.name, f"{directory}.zip")
        made = self._low_level_execute_command(
            f"python3 -m zipfile -e {directory}.zip {directory}.new && mv {directory}.new {directory}", sudoable=False
        )
        if made["rc"] != 0:
            raise AnsibleActionFail(f"the payload was not unpacked: {made['stderr']}")
        return directory
