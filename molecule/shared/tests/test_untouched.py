# SPDX-License-Identifier: GPL-3.0-or-later
"""After check mode on clean hosts: nothing is different from before."""

import pytest

import nodes


@pytest.mark.parametrize("part", nodes.STATE)
def test_is_as_before(part, pristine, now):
    for name in nodes.managed():
        assert now[name][part].splitlines() == pristine[name][part].splitlines(), name


def test_were_clean_hosts(pristine):
    for name, state in pristine.items():
        assert "ip_vs" not in state["modules"].split(), name
    assert nodes.sysctls(pristine[nodes.DIRECTOR]["sysctls"])["net.ipv4.ip_forward"] == "0"
