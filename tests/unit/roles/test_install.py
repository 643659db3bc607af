# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the roles do not know what the packages are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.roles.canned import ROOT, run

MISSING = {
    "ipvs_director": {"__ipvs_director_missing": ["pyroute2", "ipvsadm"]},
    "ipvs_backend": {"__ipvs_backend_plan": {"missing_tools": ["pyroute2", "ipvsadm"]}},
}


@pytest.mark.parametrize("role", MISSING)
@pytest.mark.parametrize(("family", "known"), [("Suse", False), ("RedHat", True)])
def test_an_unknown_family_is_one_sentence(tmp_path: Path, role: str, family: str, known: bool) -> None:
    tasks = yaml.safe_load((ROOT / "roles" / role / "tasks" / "install.yml").read_text())
    (refusal,) = [task for task in tasks if "ansible.builtin.fail" in task]
    facts = {"name": "Take a family", "ansible.builtin.set_fact": {"os_family": family, "cacheable": True}}
    play = {"hosts": "all", "gather_facts": False, "vars": MISSING[role], "tasks": [facts, refusal]}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"node": {"ansible_connection": "local"}}}}))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = run(tmp_path, "play.yml")
    assert (done.status == 0) == known
    sentence = (
        f"{role}_manage_packages: the role does not know the package names of this family of distributions: install "
        f"what provides ipvsadm, pyroute2 yourself, then run again (got {family})"
    )
    assert (sentence in done.output) != known


@pytest.mark.parametrize("role", MISSING)
def test_the_families_that_are_known_have_their_names(role: str) -> None:
    tasks = yaml.safe_load((ROOT / "roles" / role / "tasks" / "install.yml").read_text())
    (refusal,) = [task for task in tasks if "ansible.builtin.fail" in task]
    known = {path.stem for path in (ROOT / "roles" / role / "vars").glob("*.yml")} - {"main"}
    assert refusal["when"].endswith(f"not in {sorted(known)}")
