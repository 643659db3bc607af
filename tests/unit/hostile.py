# SPDX-License-Identifier: GPL-3.0-or-later
"""What no user, file or program should give, for the tests with the marker ``fuzz``.

Their budget is the number of examples of each in the profile in force (conftest.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

#: Where something stands: the keys and indexes that lead there.
Place = tuple[Any, ...]

TEXTS = st.one_of(
    st.sampled_from(
        [
            *("192.0.2.10", "2001:db8::1", "198.51.100.11", "192.0.2.0/24", "::ffff:192.0.2.1", "0.0.0.0", "fe80::1"),
            *("80", "080", "8000-8010", "1:20", "8_0", "1e3", "-0", "-1", "0x50", "65536", "50%", "true", "no", "~"),
            *("web", "nat", "dr", "tun", "rr", "mh", "sip", "tcp", "ipv4", "eth0", "lo", "main", "host", "+", "all"),
            *("", " ", "\n", "\0", "\ud800", "a" * 5000, "{{ x }}", "services[5]", "\x1b[31m"),
        ]
    ),
    st.text(max_size=8),
)
NUMBERS = st.one_of(
    st.integers(-2, 70_000), st.sampled_from([-(2**31), 2**31, 2**32 - 1, 2**32, 2**64, 10**4000]), st.floats()
)
#: What stands in a file of JSON, and what a module is given.
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


def places(value: object) -> Iterator[Place]:
    """Every place in a value of dicts and lists, that of the whole first."""
    yield ()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from ((key, *place) for place in places(inner))


@st.composite
def damaged(draw: st.DrawFn, good: Any, most: int = 3) -> Any:
    """A good value in which some places are taken out, doubled or replaced."""
    value = copy.deepcopy(good)
    for __ in range(draw(st.integers(1, most))):
        *way, last = draw(st.sampled_from([place for place in places(value) if place] or [(None,)]))
        if last is None:
            break
        inside = value
        for step in way:
            inside = inside[step]
        what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if what == "remove":
            del inside[last]
        elif what == "replace":
            inside[last] = draw(JSON)
        elif isinstance(inside, list):
            inside.append(copy.deepcopy(inside[last]))
        else:
            inside[draw(TEXTS)] = draw(JSON)
    return value


@st.composite
def torn(draw: st.DrawFn, text: str) -> str:
    """A text from which pieces are cut out, and into which others are put."""
    for __ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        piece = draw(st.one_of(st.just(""), TEXTS, st.sampled_from(["\n", "'", '"', "{", "]", "&a ", "*a", "<<: "])))
        text = text[:start] + piece + text[end:]
    return text
