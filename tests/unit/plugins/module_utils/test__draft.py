# SPDX-License-Identifier: GPL-3.0-or-later
"""_draft: what a table of ours looks like, and how it is told from another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from plugins.module_utils import _draft
from plugins.module_utils._draft import Chain, Element, Shape
from plugins.module_utils._nft import LiveTable

ELEMENTS = {Element("port", (80,)): ""}
SETS = [_draft.set_text("port", Shape(("inet_service",), intervals=True), ["80"])]
CHAINS = [
    Chain("input", "filter hook input priority filter", ["tcp dport @port accept", "accept"]),
    Chain("output", "route hook output priority mangle", ["accept"]),
]


#: The chains of CHAINS as nft lists them, without their numbers.
LISTED = [
    {"name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"},
    {"name": "output", "type": "route", "hook": "output", "prio": -150, "policy": "accept"},
]


def live(comment: str, *handles: int, chains: Sequence[dict[str, Any]] = ()) -> LiveTable:
    rules = [{"rule": {"handle": handle, "comment": comment if handle == 1 else ""}} for handle in handles]
    numbered = [{"chain": {**chain, "handle": len(rules) + i}} for i, chain in enumerate(chains, 1)]
    return LiveTable([*rules, *numbered])


def test_the_text_of_a_table() -> None:
    made = _draft.draft(ELEMENTS, SETS, CHAINS)
    assert re.fullmatch(r"l4lb\.ipvs [0-9a-f]{32}", made.comment)
    assert made.objects == 6
    assert (
        made.body.replace(made.comment, "COMMENT").expandtabs(2)
        == """\
  set port {
    type inet_service
    flags interval
    elements = {
      80
    }
  }
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport @port accept comment "COMMENT"
    accept
  }
  chain output {
    type route hook output priority mangle; policy accept;
    accept
  }
"""
    )


def test_without_elements_there_is_no_table() -> None:
    assert _draft.draft({}, [], [Chain("input", "filter hook input priority filter", [])]) == _draft.NO_TABLE


@pytest.mark.parametrize(
    ("sets", "chains"),
    [
        ([SETS[0].replace("80", "81")], CHAINS),
        (SETS, CHAINS[:1]),
        (SETS, [CHAINS[0], CHAINS[1]._replace(rules=["drop"])]),
        (SETS, [CHAINS[0]._replace(hook="filter hook input priority raw"), CHAINS[1]]),
    ],
)
def test_the_digest_tells_every_change(sets: Any, chains: Any) -> None:
    assert _draft.draft(ELEMENTS, sets, chains).comment != _draft.draft(ELEMENTS, SETS, CHAINS).comment


@pytest.mark.parametrize(
    ("table", "own"),
    [
        (live("l4lb.ipvs x", 1), True),
        (live("l4lb.ipvs x", 1, 2), True),
        (live("l4lb.ipvs x", 1, 3), False),
        (live("other", 1), False),
        (live("l4lb.ipvs x", 2), False),
        (LiveTable([]), False),
    ],
)
def test_a_table_of_our_make_is_known(table: LiveTable, own: bool) -> None:
    assert _draft.is_own(table) is own


def test_the_form_is_the_digest_the_chains_and_the_number_of_objects() -> None:
    made = _draft.draft(ELEMENTS, SETS, CHAINS)
    assert _draft.has_form(live(made.comment, 1, 2, 3, 4, chains=LISTED), made)
    assert not _draft.has_form(live(made.comment, 1, 2, 3, 4, 5, chains=LISTED), made)
    assert not _draft.has_form(live("l4lb.ipvs of another version", 1, 2, 3, 4, chains=LISTED), made)
    for changed in ({"policy": "drop"}, {"prio": -151}, {"type": "filter"}, {"hook": "input"}, {"dev": "lo"}):
        assert not _draft.has_form(live(made.comment, 1, 2, 3, 4, chains=[LISTED[0], {**LISTED[1], **changed}]), made)
