# SPDX-License-Identifier: GPL-3.0-or-later
"""After removal: what the collection made is gone, and nothing else."""

import nodes

#: What somebody else added while the director was in use, see foreign.sh.
FOREIGN_TABLE = ["-A -u 192.0.2.1:5353 -s wrr -p 60", "-a -u 192.0.2.1:5353 -r 192.0.2.2:53 -m -w 3"]
FOREIGN_ADDRESS = "192.0.2.1"


def without(text, word):
    return [line for line in text.splitlines() if word not in line.split() and f"{word}/32" not in line.split()]


def test_the_services_of_others_remain(now):
    assert [line.strip() for line in now["table"].splitlines() if line.startswith(("-A", "-a"))] == FOREIGN_TABLE


def test_addresses_are_as_before(now, pristine):
    assert f" {FOREIGN_ADDRESS}/32 " in now["addresses"]
    assert without(now["addresses"], FOREIGN_ADDRESS) == pristine["addresses"].splitlines()


def test_routes_are_as_before(now, pristine):
    assert without(now["routes"], FOREIGN_ADDRESS) == pristine["routes"].splitlines()


def test_rules_are_as_before(now, pristine):
    assert now["rules"] == pristine["rules"]


def test_files_are_as_before(now, pristine):
    assert now["files"] == pristine["files"]


def test_a_second_removal_finds_nothing(scenario):
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "--extra-vars", "ipvs_director_state=absent")
    assert run.status == 0, run.output
    assert run.total("changed") == 0, run.output
