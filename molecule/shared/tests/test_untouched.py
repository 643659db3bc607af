# SPDX-License-Identifier: GPL-3.0-or-later
"""After check mode on a clean host: nothing is different from before."""

import pytest

import nodes


@pytest.mark.parametrize("part", nodes.STATE)
def test_is_as_before(part, pristine, now):
    assert now[part].splitlines() == pristine[part].splitlines()


def test_was_a_clean_host(pristine):
    assert "ip_vs" not in pristine["modules"].split()
    assert nodes.sysctls(pristine["sysctls"])["net.ipv4.ip_forward"] == "0"
