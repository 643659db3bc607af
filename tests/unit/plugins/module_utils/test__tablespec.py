# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of a task to a table and a policy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.module_utils._errors import Findings, InvalidInput
from plugins.module_utils._policy import ACTION_WORDS, Limit, Policy, Scope
from plugins.module_utils._tablespec import TABLE, parse_table
from plugins.module_utils._text import table_lines

WEB = {"address": "192.0.2.10", "port": 80, "servers": []}
LINE = "-A -t 192.0.2.10:80 -s wlc"


def parse(**params: Any) -> tuple[list[str], Policy, list[str]]:
    """-> the table's lines, the policy, the warnings."""
    warnings: list[str] = []

    def conclude(findings: Findings) -> None:
        findings.raise_problems()
        warnings.extend(map(str, findings.warnings))

    defaults = {name: option.get("default") for name, option in TABLE.items()}
    listed, policy, dummy = parse_table(
        SimpleNamespace(params={**defaults, **params}, conclude=conclude), lambda dummy: {}
    )
    return table_lines(listed), policy, warnings


def test_the_defaults_touch_what_is_listed_and_no_more() -> None:
    listed, policy, warnings = parse(services=[WEB])
    assert listed == [LINE]
    assert policy == Policy("none", Scope(), False, Limit(share=25), ACTION_WORDS)
    assert warnings == ["services[0].servers: no servers: connections will be refused"]


def test_every_option_reaches_the_policy() -> None:
    dummy, policy, dummy = parse(
        services=[],
        purge="owned",
        scope={"protocols": ["udp"], "marks": [7]},
        keep_weights=True,
        max_removals="5",
        allow_actions=["add_server"],
    )
    assert policy == Policy("owned", Scope(None, (17,), (7,)), True, Limit(5), ("add_server",))


def test_a_file_takes_the_place_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text(f"{LINE}\n")
    assert parse(src=str(path))[0] == [LINE]
    path.write_text("- address: 192.0.2.10\n")
    with pytest.raises(InvalidInput, match=r"^src\[0\]\.port: is required"):
        parse(src=str(path))
    path.write_text("")
    with pytest.raises(InvalidInput, match=r"^src: lists nothing"):
        parse(src=str(path))


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(
            services=[WEB, {**WEB, "port": 99999}],
            scope={"protocols": ["udp"]},
            max_removals="half",
            purge="all",
            state="absent",
        )
    assert caught.value.details["problems"] == [
        "services[1].port: must be an integer 0..65535 (got 99999)",
        "max_removals: must be a decimal integer 0..2147483647 (got 'half')",
        "services: a listed service is outside of scope (got '-t 192.0.2.10:80')",
        "purge: means nothing with state absent (got 'all')",
        "max_removals: means nothing with state absent (got 'half')",
    ]


def test_what_is_about_a_table_that_is_there_means_nothing_to_a_removal() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(services=[WEB], state="absent", purge="owned", keep_weights=True, max_removals=5, force=True)
    assert caught.value.details["problems"] == [
        "purge: means nothing with state absent (got 'owned')",
        "keep_weights: means nothing with state absent (got True)",
        "max_removals: means nothing with state absent (got 5)",
        "force: means nothing with state absent (got True)",
    ]
    scope = {"networks": ["192.0.2.0/24"]}
    assert parse(services=[WEB], state="absent", scope=scope, allow_actions=["remove_service"])[0] == [LINE]


def test_a_bad_scope_blames_no_service() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(services=[WEB], scope={"networks": ["192.0.2.0"], "protocol": ["tcp"]})
    assert caught.value.details["problems"] == ["scope.protocol: unknown key; did you mean protocols?"]
    with pytest.raises(InvalidInput) as caught:
        parse(services=[{**WEB, "port": -1}], scope={})
    assert len(caught.value.details["problems"]) == 2


def test_what_is_unwise_does_not_matter_to_a_removal() -> None:
    assert parse(services=[WEB], state="absent") == ([LINE], Policy(), [])
