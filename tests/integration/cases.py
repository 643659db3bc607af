# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a node: a module's real main() many times, each time in a process of its own, with a witness in between.

Standard input is the JSON of the action plugin ``cases``, which also documents it; standard output is a JSON list, for
each case its problems. The collection and Ansible's module_utils lie beside this file.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))


class Failure(Exception):
    """What is wrong with a case."""


def call(main: Callable[[], None], params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The result of a module run in a child process, as Ansible would read it."""
    from ansible.module_utils import basic

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        arguments = {**params, "_ansible_check_mode": check, "_ansible_diff": True}
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        basic._ANSIBLE_PROFILE = "legacy"
        try:
            main()
        except SystemExit:
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        output = pipe.read()
    os.waitpid(child, 0)
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise Failure(f"no result, but: {output}")
    result: dict[str, Any] = json.loads(lines[0])
    return result


def witness(commands: list[list[str]]) -> list[str]:
    """What the independent tools print: lines with single blanks, sorted."""
    lines: list[str] = []
    for command in commands:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, encoding="utf-8")
        if run.returncode:
            raise Failure(f"{' '.join(command)}: {run.stdout}")
        lines += [" ".join(line.split()) for line in run.stdout.splitlines() if line.strip()]
    return sorted(lines)


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failure(f"{what}\n      wanted {json.dumps(wanted)}\n      found  {json.dumps(found)}")


def expect_lines(what: str, found: list[str], wanted: list[str]) -> None:
    if found != wanted:
        missing = [f"\n      - {line}" for line in wanted if wanted.count(line) > found.count(line)]
        surplus = [f"\n      + {line}" for line in found if found.count(line) > wanted.count(line)]
        raise Failure(what + "".join(missing + surplus))


class Cases:
    """One task's cases, run in order: each starts from what the one before it left."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        for name in order["preload"]:
            importlib.import_module(name)
        self.main: Callable[[], None] = importlib.import_module(order["module"]).main
        self.params: dict[str, Any] = order["params"]
        self.commands: list[list[str]] = order["witness"]
        self.always: list[str] = order["always"]
        self.feedback: dict[str, str] = order["feedback"]

    def run(self, case: Mapping[str, Any]) -> None:
        params = {**self.params, **case["params"]}
        before = witness(self.commands)
        tried = call(self.main, params, check=True)
        expect_lines("check mode changed something", witness(self.commands), before)
        done = call(self.main, params, check=False)
        after = witness(self.commands)
        if "fails" in case:
            for mode, result in (("in check mode", tried), ("", done)):
                if not result.get("failed") or case["fails"] not in str(result.get("msg")):
                    raise Failure(f"is not refused {mode} with {case['fails']!r}, but: {json.dumps(result)}")
            expect_lines("what is refused changed something", after, before)
            return
        for mode, result in (("in check mode", tried), ("", done)):
            if result.get("failed"):
                raise Failure(f"fails {mode}: {json.dumps(result)}")
            expect(f"changed {mode}", result["changed"], case.get("changed", True))
        wanted = sorted([*self.always, *case["lines"]])
        expect_lines("the witness disagrees", after, wanted)
        for key in ("operations", "diff", *self.feedback):
            expect(f"check mode foretells another {key}", tried.get(key), done.get(key))
        if "warns" in case and not any(case["warns"] in str(warning) for warning in done.get("warnings", [])):
            raise Failure(f"does not warn of {case['warns']!r}: {json.dumps(done.get('warnings'))}")
        self.repeat("a second run", params, wanted)
        if self.feedback and params.get("state") != "absent":
            fed_back: dict[str, Any] = {}
            for key, option in self.feedback.items():
                fed_back.update({option: done[key]} if option else done[key])
            self.repeat("the result fed back", {**self.params, **fed_back}, wanted)

    def repeat(self, what: str, params: Mapping[str, Any], wanted: list[str]) -> None:
        result = call(self.main, params, check=False)
        if result.get("failed"):
            raise Failure(f"{what} fails: {json.dumps(result)}")
        expect(f"{what}: changed", result["changed"], False)
        expect_lines(f"{what} changes something", witness(self.commands), wanted)


def main() -> None:
    order = json.load(sys.stdin)
    cases = Cases(order)
    problems: list[str] = []
    for case in order["cases"]:
        try:
            cases.run(case)
            problems.append("")
        except Failure as failure:
            problems.append(str(failure))
    json.dump(problems, sys.stdout)


if __name__ == "__main__":
    main()
