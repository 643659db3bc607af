# SPDX-License-Identifier: GPL-3.0-or-later
"""An nft that keeps tables and numbers their objects as the real one does."""

from __future__ import annotations

import json
import re
from typing import Any, Optional

PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "srcnat": 100}
TableDict = dict[tuple[str, str], list[dict[str, Any]]]


class FakeNft:
    """Understands what this collection sends to nft, and answers as nft 1.0.6 does. ``writes`` are the transactions,
    ``local`` the host's addresses; ``fail`` maps how a command begins to the error it gives; one that is ``deaf`` does
    nothing.
    """

    def __init__(self) -> None:
        self.tables: TableDict = {}
        self.version = "1.0.6"
        self.writes: list[str] = []
        self.local: set[str] = set()
        self.fail: dict[str, str] = {}
        self.deaf = False

    def run(self, argv: list[str], data: Optional[str] = None) -> tuple[int, str, str]:
        if argv[:4] == ["ip", "-j", "route", "get"]:
            return 0, json.dumps([{"type": "local" if argv[4] in self.local else "unicast"}]), ""
        assert argv[0] == "nft"
        action = " ".join(argv[1:])
        for begin, error in self.fail.items():
            if action.startswith(begin):
                return 1, "", f"/dev/stdin:1:1-2: Error: {error}\n^^^\n"
        if action == "list tables":
            return 0, "".join(f"table {family} {name}\n" for family, name in self.tables), ""
        if action == "-j list tables":
            names = [{"table": {"family": family, "name": name, "handle": 1}} for family, name in self.tables]
            return 0, json.dumps({"nftables": [{"metainfo": {"version": self.version}}, *names]}), ""
        if action.startswith("-j list table "):
            objects = self.tables[(argv[4], argv[5])]
            if {"broken": {}} in objects:
                return 0, '{"nftables": [{"metainfo": {}}, {"table": {"handle": 9, "flags": ', ""
            return 0, json.dumps({"nftables": [{"metainfo": {}}, {"table": {"handle": 9}}, *objects]}), ""
        assert data is not None
        if action == "-c -f -":
            self._load(data)
            return 0, "", ""
        assert action == "-f -"
        self.writes.append(data)
        if not self.deaf:
            self.tables = self._load(data)
        return 0, "", ""

    def _load(self, text: str) -> TableDict:
        tables = dict(self.tables)
        pattern = re.compile(r"(delete )?table (ip6?) (\w+)( \{\n(.*?)^\})?$", re.M | re.S)
        assert not pattern.sub("", text).strip(), text
        for delete, family, name, block, inside in pattern.findall(text):
            if delete:
                del tables[(family, name)]
            elif block:
                assert tables[(family, name)] == [] if (family, name) in tables else True
                tables[(family, name)] = self._objects(inside)
            else:
                tables.setdefault((family, name), [])
        return tables

    def _objects(self, inside: str) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = []
        chains = re.findall(r"^\tchain (\w+) \{\n\t\ttype (.*?); policy accept;\n(.*?)^\t\}$", inside, re.M | re.S)
        sets = re.findall(
            r"^\t(set|map) (\S+) \{\n\t\ttype (.*?)\n(?:\t\tflags (\w+)\n)?\t\telements = \{(.*?)\}\n\t\}$",
            inside,
            re.M | re.S,
        )
        rules = [rule.strip() for dummy, dummy, lines in chains for rule in lines.splitlines()]
        for name, hook, dummy in chains:
            assert re.fullmatch(r"(filter|nat|route) hook \w+ priority \w+", hook), hook
            kind, dummy, point, dummy, priority = hook.split()
            form = {"type": kind, "hook": point, "prio": PRIORITIES[priority], "policy": "accept"}
            objects.append({"chain": {"name": name, "handle": len(objects) + 1, **form}})
        for kind, name, types, flags, listed in sets:
            key_types, dummy, data_type = types.partition(" : ")
            assert bool(data_type) == (kind == "map")
            elements: list[Any] = []
            for entry in listed.split(","):
                key, dummy, target = entry.strip().partition(" : ")
                parts = [self._value(part, flags) for part in key.split(" . ")]
                assert len(parts) == len(key_types.split(" . "))
                shown = {"concat": parts} if len(parts) > 1 else parts[0]
                elements.append([shown, self._value(target)] if kind == "map" else shown)
            assert any(re.search(rf"@{re.escape(name)}( |$)", rule) for rule in rules)
            objects.append({kind: {"name": name, "handle": len(objects) + 1, "elem": elements}})
        known = {name for dummy, name, *dummies in sets}
        handle = len(objects)
        for rule in rules:
            assert set(re.findall(r"@(\S+)", rule)) <= known
            comment = re.findall(r' comment "(.{1,128})"$', rule)
            # a set without a name takes a number as well, and is not listed
            handle += 1 + rule.count("{")
            objects.append({"rule": {"handle": handle, **({"comment": comment[0]} if comment else {})}})
        return objects

    @staticmethod
    def _value(text: str, flags: str = "") -> Any:
        ends = re.fullmatch(r"(\d+)-(\d+)", text)
        if ends:
            assert flags == "interval"
            return {"range": [int(ends.group(1)), int(ends.group(2))]}
        return int(text) if text.isdigit() else text
