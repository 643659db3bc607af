# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What ``nft -j list ruleset`` (libnftables-json(5)) says about balanced packets: which filters they pass and which
rules change their source. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Tables of this collection.
OWN_TABLES = "l4lb_"
#: The families whose chains see packets of IP at these hooks.
FAMILIES = ("ip", "ip6", "inet")
#: What balanced packets pass, by the hook.
HOOKS = ("input", "forward", "output")
#: What is told of one base chain: rules in it and the chains it leads to, and values in one match.
MAX_RULES, MAX_VALUES = 5000, 500
#: A match that nothing is known of, and the rule that such a match makes of what may accept.
OPAQUE: dict[str, Any] = {"what": "", "op": "==", "values": []}
UNCERTAIN: dict[str, Any] = {"matches": [OPAQUE], "verdict": "accept", "target": "", "handle": 0}
#: The element that stands for every value that no other one has.
ANY = "*"
#: Statements that neither ask anything of a packet nor end its way.
SILENT = frozenset(("counter", "log", "mangle", "comment", "notrack", "set", "continue", "ct helper", "flow"))
VERDICTS = ("accept", "drop", "return", "jump", "goto")


class Ruleset:
    """The parts of ``nft -j list ruleset`` (libnftables-json(5)) that decide about forwarded and translated packets."""

    def __init__(self, listing: Mapping[str, Any]) -> None:
        self.chains: list[Mapping[str, Any]] = []
        self.rules: dict[tuple[str, str, str], list[Sequence[Mapping[str, Any]]]] = {}
        self.numbered: dict[tuple[str, str, str], list[tuple[int, Sequence[Mapping[str, Any]]]]] = {}
        self.maps: dict[tuple[str, str, str], Sequence[Any]] = {}
        self.sets: dict[tuple[str, str, str], Sequence[Any]] = {}
        for item in listing.get("nftables", []):
            if "chain" in item:
                self.chains.append(item["chain"])
            elif "rule" in item:
                rule = item["rule"]
                key = rule["family"], rule["table"], rule["chain"]
                # what has no form in JSON is text, such as a jump to a chain without a name
                expressions = [one if isinstance(one, Mapping) else {"text": str(one)} for one in rule["expr"]]
                self.rules.setdefault(key, []).append(expressions)
                self.numbered.setdefault(key, []).append((rule.get("handle", 0), expressions))
            elif "set" in item and not _changes(item["set"]):
                self.sets[_key(item["set"])] = item["set"].get("elem", [])
            elif "map" in item:
                self.maps[_key(item["map"])] = item["map"].get("elem", [])

    def base_chains(self, kind: str, hook: str) -> list[Mapping[str, Any]]:
        return [
            chain
            for chain in self.chains
            if chain.get("type") == kind and chain.get("hook") == hook and not chain["table"].startswith(OWN_TABLES)
        ]

    def expressions(
        self, chain: tuple[str, str, str], before: tuple[Mapping[str, Any], ...] = (), seen: tuple[str, ...] = ()
    ) -> Iterator[tuple[Mapping[str, Any], ...]]:
        """Every rule that a packet in ``chain`` may meet, those of the chains it jumps to after the expressions
        that lead there. The verdicts of a verdict map are rules of their own.
        """
        for rule in self.rules.get(chain, []):
            yield (*before, *rule)
            for expression in rule:
                ways = [(expression, tuple(one for one in rule if one is not expression))]
                ways += [(verdict, tuple(rule)) for verdict in self._verdicts(chain, expression)]
                for verdict, led in ways:
                    if verdict is not expression:
                        yield (*before, *led, verdict)
                    target = (verdict.get("jump") or verdict.get("goto") or {}).get("target")
                    if target and target not in seen:
                        yield from self.expressions((*chain[:2], target), (*before, *led), (*seen, chain[2]))

    def _verdicts(self, chain: tuple[str, str, str], expression: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Those of a verdict map."""
        return [pair[1] for pair in self.pairs(chain, expression)]

    def pairs(self, chain: tuple[str, str, str], expression: Mapping[str, Any]) -> Sequence[Any]:
        """The keys and verdicts of a verdict map, written in the rule or by itself."""
        data = expression.get("vmap", {}).get("data", {})
        named = self.maps.get((*chain[:2], data[1:]), []) if isinstance(data, str) else None
        return data.get("set", []) if named is None else named


def read_source_nat(listing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules that change sources after routing."""
    ruleset = Ruleset(listing)
    return [
        {**_named(chain), "matches": [_match(one) for one in rule if not _asks_nothing(one)]}
        for chain in ruleset.base_chains("nat", "postrouting")
        for rule in ruleset.expressions(_key(chain))
        if any(_changes_source(one) for one in rule)
    ]


def read_firewall(listing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The filter chains at :data:`HOOKS` that may drop, each with its ``rules`` and, by name, the ``chains`` that these
    lead to. A rule has ``matches``, a ``verdict``, the ``target`` of a jump and the ``handle`` of nft -a; one that has
    no verdict is not there.
    """
    ruleset = Ruleset(listing)
    found = []
    for hook in HOOKS:
        for chain in ruleset.base_chains("filter", hook):
            rules, chains = _closure(ruleset, _key(chain)) if chain["family"] in FAMILIES else ([], {})
            told = {**_named(chain), "hook": hook, "policy": chain.get("policy", "accept"), "rules": rules}
            every = [rule["verdict"] for name in ("", *chains) for rule in (chains[name] if name else rules)]
            if told["policy"] == "drop" or "drop" in every:
                short = {"rules": [UNCERTAIN], "chains": {}} if len(every) > MAX_RULES else {"chains": chains}
                found.append({**told, **short})
    return [chain for chain in found if chain["family"] in FAMILIES]


def _closure(
    ruleset: Ruleset, base: tuple[str, str, str]
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    chains: dict[str, list[dict[str, Any]]] = {}
    todo = [base[2]]
    while todo:
        name = todo.pop()
        if name not in chains:
            chains[name] = [
                one for rule in ruleset.numbered.get((*base[:2], name), []) for one in _rules(ruleset, base, rule)
            ]
            todo += [rule["target"] for rule in chains[name] if rule["target"]]
    return chains.pop(base[2]), {name: rules for name, rules in chains.items() if rules}


def _rules(
    ruleset: Ruleset, base: tuple[str, str, str], rule: tuple[int, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """The rule in the words of :func:`read_firewall`, a verdict map as one rule for each of its verdicts."""
    handle, expressions = rule
    matches: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for one in expressions:
        verdict = _verdict(one)
        if _is_beyond(one):
            made.append({**UNCERTAIN, "matches": [*matches, OPAQUE], "handle": handle})
        elif verdict:
            made.append({"matches": list(matches), **verdict, "handle": handle})
        elif "vmap" in one:
            pairs = [(_value(key), way) for key, way in ruleset.pairs(base, one)]
            others = [key for key, dummy in pairs if key != ANY]
            for key, way in pairs:
                op, right = ("!=", {"set": others}) if key == ANY else ("==", key)
                asked = _known(ruleset, base, {"match": {"op": op, "left": one["vmap"].get("key"), "right": right}})
                made.append({"matches": [*matches, asked], **(_verdict(way) or _NONE), "handle": handle})
        elif "match" in one:
            matches.append(_known(ruleset, base, one))
        elif not (one.keys() & SILENT or _is_target(one)):
            matches.append(OPAQUE)  # a rate, an extension of iptables
    return [one for one in made if one["verdict"]]


_NONE = {"verdict": "", "target": ""}


def _verdict(expression: Mapping[str, Any]) -> dict[str, Any]:
    """The end that a statement makes of a packet's way; empty where it makes none."""
    for word in VERDICTS:
        if word in expression:
            return {"verdict": word, "target": (expression[word] or {}).get("target", "")}
    target = expression.get("xt")
    name = target.get("name") if isinstance(target, Mapping) else None
    if "reject" in expression or name == "REJECT":
        return {"verdict": "drop", "target": ""}
    return {}


def _is_beyond(expression: Mapping[str, Any]) -> bool:
    """Whether the packet is handed to a program, or to a chain without a name, that may accept it."""
    target = expression.get("xt")
    named = target.get("name") if isinstance(target, Mapping) else None
    return "queue" in expression or named == "NFQUEUE" or ("text" in expression and _says(expression, "accept"))


def _is_target(expression: Mapping[str, Any]) -> bool:
    target = expression.get("xt")
    return isinstance(target, Mapping) and target.get("type") == "target"


def _known(ruleset: Ruleset, base: tuple[str, str, str], expression: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`_match` with the values of a named set; what the set cannot tell, or would take too long, is opaque."""
    match = _match(expression)
    values = match["values"]
    if len(values) == 1 and isinstance(values[0], str) and values[0].startswith("@"):
        values = ruleset.sets.get((*base[:2], values[0][1:]))
    if values is None or match["op"] not in ("==", "!=") or len(values) > MAX_VALUES:
        return OPAQUE
    values = [_value(one) for one in values]
    if ANY in values:
        # whatever it is: not one of none
        return {**match, "op": "!=" if match["op"] == "==" else "==", "values": []}
    return {**match, "values": values}


def _value(element: Any) -> Any:
    """An element without what else it says: a comment, a counter, a timeout."""
    return element["elem"]["val"] if isinstance(element, Mapping) and "elem" in element else element


def _changes(listed: Mapping[str, Any]) -> bool:
    """Whether packets or time change what the set has. A single flag is text from nft 1.1.1 on."""
    flags = listed.get("flags", ())
    return not {"timeout", "dynamic"}.isdisjoint([flags] if isinstance(flags, str) else flags)


def _key(chain: Mapping[str, Any]) -> tuple[str, str, str]:
    return chain["family"], chain["table"], chain["name"]


def _named(chain: Mapping[str, Any]) -> dict[str, Any]:
    return {"family": chain["family"], "table": f"{chain['family']} {chain['table']}", "chain": chain["name"]}


def _says(expression: Mapping[str, Any], *words: str) -> bool:
    """Whether the expression is one of these statements, or has it in its text."""
    return not expression.keys().isdisjoint(words) or not set(
        re.findall("[a-z]+", expression.get("text", ""))
    ).isdisjoint(words)


def _changes_source(expression: Mapping[str, Any]) -> bool:
    # iptables-nft shows the targets that nft has no word for as "xt"
    target = expression.get("xt")
    named = target.get("name") if isinstance(target, Mapping) else None
    return _says(expression, "masquerade", "snat") or named in ("MASQUERADE", "SNAT")


def _asks_nothing(expression: Mapping[str, Any]) -> bool:
    """Whether the expression asks nothing of a packet; a text may."""
    return "text" not in expression and (
        _changes_source(expression) or bool(expression.keys() & {"counter", "log", "comment"})
    )


def _match(expression: Mapping[str, Any]) -> dict[str, Any]:
    """What a packet must be: ``what`` in nft's words, ``op`` and ``values``; ``what`` is "" where that cannot be
    told.
    """
    match = expression.get("match", {})
    left, right = match.get("left", {}), match.get("right")
    what = ""
    if isinstance(left, Mapping) and "meta" in left:
        what = f"meta {left['meta']['key']}"
    elif isinstance(left, Mapping) and "key" in left.get("ct", {}):
        what = f"ct {left['ct']['key']}"
    elif isinstance(left, Mapping) and "protocol" in left.get("payload", {}):
        what = f"{left['payload']['protocol']} {left['payload']['field']}"
    several = right.get("set") if isinstance(right, Mapping) else right
    values = several if isinstance(several, list) else [right]
    return {"what": what, "op": match.get("op", "").replace("in", "=="), "values": values}
