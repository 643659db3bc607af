# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that lists services."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from plugins.module_utils._errors import Findings, InvalidInput, Unavailable
from plugins.module_utils._model import parse_services
from plugins.module_utils._source import load

SERVICES = [
    {"address": "192.0.2.10", "port": 80, "servers": [{"address": "198.51.100.11", "weight": 2}]},
    {"fwmark": 7, "family": "ipv6", "servers": []},
]
YAML = """
---
# ours
- address: 192.0.2.10
  port: 80
  servers:
    - {address: 198.51.100.11, weight: 2}
- fwmark: 7
  family: ipv6
  servers: []
"""
INDENTED = "services:" + YAML.split("# ours")[1].replace("\n", "\n  ")


def read(path: Path, text: str) -> object:
    path.write_text(text, encoding="utf-8")
    findings = Findings()
    found, dummy = load(str(path), findings)
    findings.raise_problems()
    return found


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    findings = Findings()
    load(str(path), findings)
    return [str(one) for one in findings.problems]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SERVICES),
        json.dumps(SERVICES, indent=2),
        json.dumps({"services": SERVICES}),
        YAML,
        INDENTED,
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_yaml_and_json_hold_the_list_or_a_dict_of_it(tmp_path: Path, text: str, mark: str) -> None:
    assert read(tmp_path / "services", mark + text) == SERVICES


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (
            {"services": [], "purge": "all", "state": 1},
            ["purge: unknown key; known: services", "state: unknown key; known: services"],
        ),
        ({"serivces": []}, ["serivces: unknown key; did you mean services?", "services: is required"]),
        ({"services": None}, ["services: must not be empty"]),
        ({}, ["services: is required"]),
    ],
)
def test_a_dict_holds_the_services_alone(tmp_path: Path, held: object, told: list[str]) -> None:
    assert problems(tmp_path / "x", json.dumps(held)) == [f"src.{one}" for one in told]
    assert problems(tmp_path / "x", yaml.safe_dump(held)) == [f"src.{one}" for one in told]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"services": [1], "services": []}', ["src: 'services'"]),
        (
            '[{"a": 1, "b": {"c": [0, {"d": 1, "d": 1}]}}, {"e": 1, "f": 2, "e": 3, "e": 4}]',
            ["src[0].b.c[1]: 'd'", "src[1]: 'e'"],
        ),
        # of a value that is lost too
        ('{"services": [{"a": 1, "a": 2}], "services": []}', ["src: 'services'", "src.services[0]: 'a'"]),
        (r'[{"\u001b": {"a": 1, "\u0061": 1}}]', [r"src[0].'\x1b': 'a'"]),
    ],
)
def test_a_key_of_json_stands_once(tmp_path: Path, text: str, places: list[str]) -> None:
    expected = [f"{place}: gives a key twice (got {key})" for place, key in (one.rsplit(": ", 1) for one in places)]
    assert problems(tmp_path / "x", text)[: len(expected)] == expected


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("services: [a]\n\n# no more\nservices: []\n", ["line 4: 'services'"]),
        (
            "- a: 1\n  a: 2\n- b: [{c: 1, d: 1,\n  'c': 1}, {e: 1}]\n  b: 1\n",
            ["line 2: 'a'", "line 4: 'c'", "line 5: 'b'"],
        ),
        ("- a: 1\n  a: 2\n  a: 3\n", ["line 2: 'a'", "line 3: 'a'"]),
        # a key that is merged may stand beside, wherever the merged mapping stands
        ("- &one {a: 1, b: 2}\n- {<<: *one, a: 3}\n", []),
        ("- b: [&two {<<: &one {a: 1}, a: 2}]\n- {<<: *two, a: 3}\n- [*one, *one]\n", []),
        # as deep as an alias goes
        ("- &one [*one, {a: 1, a: 1}]\n", ["line 1: 'a'"]),
        # a number is no word
        ("- {1: a, '1': b}\n", []),
    ],
)
def test_a_key_of_yaml_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str, text: str, places: list[str]
) -> None:
    if loader == "SafeLoader":
        monkeypatch.delattr(yaml, "CSafeLoader")
    expected = [f"src {place}: gives a key twice (got {key})" for place, key in (one.rsplit(": ", 1) for one in places)]
    assert problems(tmp_path / "x", text) == expected


def test_a_key_too_many_hides_no_other_problem(tmp_path: Path) -> None:
    text = '{"services": [{"a": 1, "a": 2}], "purge": "all"}'
    found = ["src.services[0]: gives a key twice (got 'a')", "src.purge: unknown key; known: services"]
    assert problems(tmp_path / "x", text) == found


@pytest.mark.parametrize(
    "text",
    [
        "-A -t 192.0.2.10:80\n",
        "\ufeff-A -t 192.0.2.10:80\n",
        "\n\n  --add-service -t 192.0.2.10:80\n",
        "# ours\n#\n\n# and\n-A -t 192.0.2.10:80\n",
    ],
)
def test_commands_are_told_by_their_first_word(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "x", text) == [{"protocol": "tcp", "address": "192.0.2.10", "port": "80", "servers": []}]


@pytest.mark.parametrize("word", ["-C", "-E", "-D -t 192.0.2.10:80", "--clear", "-R"])
def test_other_commands_are_told_as_such(tmp_path: Path, word: str) -> None:
    found = problems(tmp_path / "x", f"# ours\n{word}\n-A -t 192.0.2.10:80\n{word}\n")
    assert [one.split(": ")[0] for one in found] == ["src line 2", "src line 4"]
    assert all(": must begin with -A or -a" in one for one in found)


def test_a_bad_command_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^src line 2: unknown option --no \(got '-A --no'\)$"):
        read(tmp_path / "x", "-A -t 192.0.2.10:80\n-A --no\n")


def test_nothing_is_no_empty_list(tmp_path: Path) -> None:
    assert read(tmp_path / "x", "null") is None


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "- a\nb: c", "a: 2026-13-45", "!!python/name:os.system "),
        *("a: !!bool maybe", "a: !!timestamp x", "a: !!float x", "!!set {a: b}: c"),
    ],
)
def test_what_is_none_of_the_three_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^src: is neither YAML nor JSON nor ipvsadm commands: .") as caught:
        read(tmp_path / "x", text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000])
def test_a_file_without_end_of_nesting_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader")
    with pytest.raises(InvalidInput, match=r"^src: is nested too deeply"):
        read(tmp_path / "x", text)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, told in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "binary", "can't decode byte 0xff"),
        (f"{tmp_path}/\0", "null"),
    ):
        with pytest.raises(InvalidInput, match=f"^src: cannot be read: .*{told}"):
            load(str(path), Findings())


def test_yaml_needs_pyyaml_and_json_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert read(tmp_path / "x", json.dumps(SERVICES)) == SERVICES
    with pytest.raises(Unavailable, match="install the package python3-yaml, or write JSON"):
        read(tmp_path / "x", YAML)


@pytest.mark.parametrize(
    "text", ["", "\n", "  \n\t\n", "# nothing\n", "---\n", "\ufeff", "ipvsadm\n", "#!/bin/sh\nipvsadm\n"]
)
def test_an_empty_file_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^src: lists nothing: .*, write \[\] \(got "):
        read(tmp_path / "x", text)
    assert read(tmp_path / "x", "[]\n") == []


@pytest.mark.parametrize("program", ["ipvsadm", "/sbin/ipvsadm"])
def test_a_script_is_taken_for_commands(tmp_path: Path, program: str) -> None:
    text = f"#!/bin/sh\n{program} -A -t 192.0.2.10:80\n"
    assert read(tmp_path / "x", text) == [{"protocol": "tcp", "address": "192.0.2.10", "port": "80", "servers": []}]


@pytest.mark.parametrize("written", ["0120", "1:20", "8_0", "0x50", "0b1010000", "-0", "+80", "9" * 5000])
def test_an_integer_of_another_notation_stays_text(tmp_path: Path, written: str) -> None:
    """Which the model refuses by its place."""
    text = f"- {{address: 192.0.2.10, port: {written}, servers: []}}\n"
    assert read(tmp_path / "x", text) == [{"address": "192.0.2.10", "port": written, "servers": []}]
    findings = Findings()
    parse_services(read(tmp_path / "x", text), "src", findings)
    assert [str(one.path) for one in findings.problems] == ["src[0].port"]


def test_an_integer_of_json_that_is_none_of_ours(tmp_path: Path) -> None:
    assert read(tmp_path / "x", '[{"port": -0, "weight": 80}]') == [{"port": "-0", "weight": 80}]
