# SPDX-License-Identifier: GPL-3.0-or-later
"""The workflow of GitHub runs what the checkout has: all of the matrix, and a cache that follows the image's recipe."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]


def constant(name: str) -> Any:
    """Of noxfile.py, which cannot be imported where nox is not installed."""
    body = ast.parse((ROOT / "noxfile.py").read_text()).body
    [value] = [one.value for one in body if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name]
    return ast.literal_eval(value)


def option(action: str, name: str) -> str:
    [value] = [step["with"][name] for step in STEPS if step.get("uses", "").startswith(f"{action}@")]
    return str(value)


def test_each_core_and_python_of_the_matrix_is_run() -> None:
    cores, targets = constant("CORES"), constant("TARGETS")
    assert JOBS["matrix"]["strategy"]["matrix"]["tag"] == [*(f"core-{core}" for core in cores), "target"]
    pythons = option("actions/setup-python", "python-version").split()
    assert sorted(pythons) == sorted({*targets, *(python for each in cores.values() for python in each)})


def test_the_cached_image_follows_its_recipe() -> None:
    patterns = re.findall(r"'([^']+)'", option("actions/cache", "key"))
    assert patterns == ["tests/lab/ipvs_lab/image.py", "tests/lab/ipvs_lab/node/**"]
    assert all((ROOT / pattern.removesuffix("/**")).exists() for pattern in patterns)


def test_what_is_run_is_there() -> None:
    commands = [line for step in STEPS for line in step.get("run", "").splitlines()]
    targets = [words[1] for words in map(str.split, commands) if words[0] == "make"]
    assert targets == ["matrix"]
    assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M) for target in targets)
    assert ".ci/run" in commands
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
