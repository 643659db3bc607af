# SPDX-License-Identifier: GPL-3.0-or-later
"""After the role and before any traffic: the director is what the document's own commands make of it, and no more."""

import re

import pytest

import nodes


@pytest.fixture
def live(now):
    return now[nodes.DIRECTOR]


@pytest.fixture
def typed(by_hand):
    return by_hand[nodes.DIRECTOR]


def services(listing):
    """Each service with its servers, in their order. The services come in that of a hash, which each boot has anew."""
    return sorted(re.split(r"^(?!  ->)", listing, flags=re.MULTILINE))


def test_the_table_is_the_same(live, typed, pristine):
    assert live["table"].splitlines() == typed["table"].splitlines()
    assert typed["table"] != pristine[nodes.DIRECTOR]["table"], "the commands have had an effect"


def test_the_servers_of_a_service_are_in_the_same_order(live, typed):
    assert services(live["order"]) == services(typed["order"])
    assert "  -> " in live["order"]


@pytest.mark.parametrize("part", ["addresses", "routes"])
def test_is_the_same(live, typed, part):
    assert sorted(live[part].splitlines()) == sorted(typed[part].splitlines())


def test_the_sysctls_are_the_same_save_for_redirects(live, typed, pristine, inventory):
    now, then, before = (nodes.sysctls(one["sysctls"]) for one in (live, typed, pristine[nodes.DIRECTOR]))
    assert then["net.ipv4.ip_forward"] != before["net.ipv4.ip_forward"], "the commands have had an effect"
    different = {key: now.get(key) for key in now.keys() | then.keys() if now.get(key) != then.get(key)}
    redirects = {key: "0" for key in different if key.endswith(".send_redirects")}
    wishes = inventory.get("ipvs_director_sysctls", {})
    assert different == {**redirects, **{key: str(value) for key, value in wishes.items() if key in different}}
    assert "net.ipv4.conf.all.send_redirects" in redirects
