# SPDX-License-Identifier: GPL-3.0-or-later
"""_encapsulation: the MSS that leaves room for each tunnel, in figures worked out by hand."""

from __future__ import annotations

from socket import AF_INET, AF_INET6

import pytest

from plugins.module_utils import _encapsulation, _model


@pytest.mark.parametrize(
    ("tunnel_type", "checksum", "outer", "inner", "mss"),
    [
        ("ipip", "none", AF_INET, AF_INET, 1440),
        ("ipip", "none", AF_INET, AF_INET6, 1420),
        ("ipip", "none", AF_INET6, AF_INET, 1420),
        ("ipip", "none", AF_INET6, AF_INET6, 1400),
        ("gre", "none", AF_INET, AF_INET, 1436),
        ("gre", "csum", AF_INET, AF_INET, 1432),
        ("gre", "csum", AF_INET6, AF_INET6, 1392),
        ("gue", "none", AF_INET, AF_INET, 1428),
        ("gue", "csum", AF_INET, AF_INET, 1428),
        ("gue", "remcsum", AF_INET, AF_INET, 1420),
        ("gue", "none", AF_INET6, AF_INET, 1408),
        ("gue", "remcsum", AF_INET6, AF_INET6, 1380),
    ],
)
def test_an_ethernet(tunnel_type: str, checksum: str, outer: int, inner: int, mss: int) -> None:
    assert _encapsulation.mss(1500, tunnel_type, checksum, outer, inner) == mss


def test_a_narrow_path() -> None:
    assert _encapsulation.mss(1400, "ipip", "none", AF_INET, AF_INET) == 1340


def test_every_tunnel_of_the_model_has_its_size() -> None:
    types = {tunnel_type for tunnel_type, dummy in _encapsulation.ENCAPSULATION}
    assert types == set(_model.TUNNEL_TYPES)
    for tunnel_type in types:
        assert (tunnel_type, "none") in _encapsulation.ENCAPSULATION
