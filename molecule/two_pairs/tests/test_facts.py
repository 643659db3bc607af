# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the directors and of the servers that they share."""

import pytest

import nodes

#: holder, who stands by, the VIP, and the service as ipvsadm names it
PAIRS = {
    "public": ("director1", "director2", "198.51.100.100", "-t 198.51.100.100:80"),
    "internal": ("director3", "director4", "198.51.100.101", "-u 198.51.100.101:53"),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_one_director_alone_has_the_vip(now, pair):
    holder, dummy, vip, dummy_service = PAIRS[pair]
    assert [name for name in nodes.hosts("ipvs_directors") if f" {vip}/32 " in now[name]["addresses"]] == [holder]


@pytest.mark.parametrize("pair", PAIRS)
def test_both_of_a_pair_have_its_service_and_no_other(now, pair):
    for name in PAIRS[pair][:2]:
        commands = [line for line in now[name]["table"].splitlines() if line.startswith(("-A", "-a"))]
        assert len(commands) == 4, name
        assert all(f" {PAIRS[pair][3]} " in command for command in commands), name


def test_the_servers_have_the_vips_of_both_pairs(now):
    for name in nodes.hosts("ipvs_backends"):
        held = [line.split() for line in now[name]["addresses"].splitlines()]
        assert {words[3] for words in held if words[1] == "lo"} >= {"198.51.100.100/32", "198.51.100.101/32"}, name
