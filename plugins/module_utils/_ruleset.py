# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What ``nft -j list ruleset`` (libnftables-json(5)) says about balanced packets: which filters they pass and which
rules change their source. The filters of ``iptables-legacy -S`` in the same words. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Callable

#: Tables of this collection.
OWN_TABLES = "l4lb_"
#: The families whose chains see packets of IP at these hooks.
FAMILIES = ("ip", "ip6", "inet")
#: What balanced packets pass, by the hook.
HOOKS = ("prerouting", "input", "forward", "output")
#: The priority of connection tracking (NF_IP_PRI_CONNTRACK). Before it a packet has no state.
TRACKED = -200
#: What is told of one base chain: rules in it and the chains it leads to, and values in one match.
MAX_RULES, MAX_VALUES = 5000, 500
#: A match that nothing is known of, and the rule that such a match makes of what may accept.
OPAQUE: dict[str, Any] = {"what": "", "op": "==", "values": []}
UNCERTAIN: dict[str, Any] = {"matches": [OPAQUE], "verdict": "accept", "target": "", "handle": 0}
#: The element that stands for every value that no other one has.
ANY = "*"
#: Statements that neither ask anything of a packet nor end its way.
SILENT = frozenset(("counter", "log", "mangle", "comment", "notrack", "set", "continue", "ct helper", "flow"))
#: Options of iptables in nft's words, and its extensions that ask nothing besides their options.
IPTABLES = {
    "-s": "{ip} saddr",
    "-d": "{ip} daddr",
    "-i": "meta iifname",
    "-o": "meta oifname",
    "-p": "meta l4proto",
    **dict.fromkeys(("--sport", "--sports"), "{protocol} sport"),
    **dict.fromkeys(("--dport", "--dports"), "{protocol} dport"),
    **dict.fromkeys(("--ctstate", "--state"), "ct state"),
}
IPTABLES_TARGETS = {
    "ACCEPT": "accept",
    "DROP": "drop",
    "REJECT": "drop",
    "RETURN": "return",
    # a program may accept it
    **dict.fromkeys(("NFQUEUE", "QUEUE"), "accept"),
}
IPTABLES_MODULES = ("tcp", "udp", "sctp", "multiport", "conntrack", "state", "comment")
#: A word of iptables -S, or what it quotes.
_IPTABLES_WORDS = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
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
            if chain["family"] in FAMILIES:
                rules_of = partial(_rules_of, ruleset, chain)
                found += _dropping(_named(chain), hook, chain.get("policy", "accept"), rules_of)
    return found


def read_iptables(family: str, listing: str) -> list[dict[str, Any]]:
    """The same from what ``iptables-legacy -S`` prints. The ``handle`` is the number of the rule in its chain."""
    policies: dict[str, str] = {}
    chains: dict[str, list[list[str]]] = {}
    for line in listing.splitlines():
        word, name, *more = _IPTABLES_WORDS.findall(line)
        if word == "-P":
            policies[name] = more[0].lower()
        elif word == "-A":
            chains[name].append(more)
        chains.setdefault(name, [])

    def rules_of(name: str) -> list[dict[str, Any]]:
        rules = [_iptables_rule(family, chains, words, number) for number, words in enumerate(chains[name], 1)]
        return [rule for rule in rules if rule["verdict"]]

    found = []
    for hook in HOOKS:
        name = hook.upper()
        named = {"family": family, "table": f"{family} filter (iptables-legacy)", "chain": name}
        found += _dropping(named, hook, policies[name], rules_of) if name in policies else []
    return found


def _iptables_rule(family: str, chains: Container[str], words: list[str], number: int) -> dict[str, Any]:
    """The options up to the target; what is not in :data:`IPTABLES` is unknown."""
    matches: list[dict[str, Any]] = []
    verdict: dict[str, Any] = _NONE
    protocol, op = "th", "=="
    for word, value in zip(words, [*words[1:], ""]):
        if word in ("-j", "-g"):
            if value in chains:
                verdict = {"verdict": "jump" if word == "-j" else "goto", "target": value}
            else:
                verdict = {"verdict": IPTABLES_TARGETS.get(value, ""), "target": ""}
                matches += [OPAQUE] * value.endswith("QUEUE")
            break
        if word in IPTABLES:
            protocol = value if word == "-p" and op == "==" and value in ("tcp", "udp", "sctp") else protocol
            what = IPTABLES[word].format(ip=family, protocol=protocol)
            matches.append({"what": what, "op": op, "values": [_iptables_value(what, one) for one in value.split(",")]})
        elif word.startswith("-") and word != "--comment" and (word != "-m" or value not in IPTABLES_MODULES):
            matches.append(OPAQUE)
        op = "!=" if word == "!" else "=="
    return {"matches": matches, **verdict, "handle": number}


def _iptables_value(what: str, text: str) -> Any:
    if what.endswith("name"):
        return f"{text[:-1]}*" if text.endswith("+") else text
    low, colon, high = text.partition(":")
    if what.endswith("port") and colon:
        return {"range": [int(low), int(high)]}
    return int(text) if text.isdecimal() else text.lower()


def _rules_of(ruleset: Ruleset, chain: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The rules of a chain that a base chain leads to."""
    base = _key(chain)
    rules = [one for rule in ruleset.numbered.get((*base[:2], name), []) for one in _rules(ruleset, base, rule)]
    return _stateless(rules) if chain.get("prio", 0) <= TRACKED else rules


def _dropping(
    named: dict[str, Any], hook: str, policy: str, rules_of: Callable[[str], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The base chain with all that its rules lead to, if it may drop."""
    chains: dict[str, list[dict[str, Any]]] = {}
    todo = [named["chain"]]
    while todo:
        name = todo.pop()
        if name not in chains:
            chains[name] = rules_of(name)
            todo += [rule["target"] for rule in chains[name] if rule["target"]]
    every = [rule["verdict"] for rules in chains.values() for rule in rules]
    if policy != "drop" and "drop" not in every:
        return []
    if len(every) > MAX_RULES:
        chains = {named["chain"]: [UNCERTAIN]}
    rules = chains.pop(named["chain"])
    more = {name: rules for name, rules in chains.items() if rules}
    return [{**named, "hook": hook, "policy": policy, "rules": rules, "chains": more}]


def _stateless(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules where connection tracking has not seen the packet."""
    return [
        {**rule, "matches": [OPAQUE if one["what"].startswith("ct ") else one for one in rule["matches"]]}
        for rule in rules
    ]


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
