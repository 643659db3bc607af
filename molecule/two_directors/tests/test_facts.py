# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the two directors."""

import pytest

HOLDER, STANDBY = "director2", "director1"


@pytest.mark.parametrize("vip", ["198.51.100.100/32", "198.51.100.101/32"])
def test_one_director_alone_has_the_vips(now, vip):
    assert f" {vip} " in now[HOLDER]["addresses"]
    assert f" {vip} " not in now[STANDBY]["addresses"]


def test_both_have_the_whole_table(now):
    commands = {
        name: sorted(line.strip() for line in now[name]["table"].splitlines() if line.startswith(("-A", "-a")))
        for name in (HOLDER, STANDBY)
    }
    assert len(commands[HOLDER]) == 6
    assert commands[HOLDER] == commands[STANDBY]


@pytest.mark.parametrize("part", ["rules", "sysctls"])
def test_both_are_ready_for_answers(now, part):
    assert now[HOLDER][part] == now[STANDBY][part]
    assert "l4lb_snat" in now[HOLDER]["rules"]
