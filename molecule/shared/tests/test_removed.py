# SPDX-License-Identifier: GPL-3.0-or-later
"""After removal: what the collection made is gone, and nothing else."""

import json

import pytest

import nodes

#: What somebody else added while the nodes were in use, see the scripts in foreign/.
FOREIGN_TABLE = ["-A -u 192.0.2.1:5353 -s wrr -p 60", "-a -u 192.0.2.1:5353 -r 192.0.2.2:53 -m -w 3"]
FOREIGN = {"192.0.2.1", "192.0.2.1/32", "252"}

#: Links that a kernel module makes when it is loaded, for as long as it is.
FALLBACKS = {"tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0"}


def others(text):
    """The lines without those of what somebody else added, and of the addresses that a host has with others while it
    forwards IPv6: running sysctls stay.
    """
    return [line for line in text.splitlines() if not FOREIGN & set(line.split()) and not line.startswith("anycast ")]


def links(text):
    """The lines of ``ip -oneline link`` by the name of the link."""
    return {line.split()[1].rstrip(":").partition("@")[0]: line for line in text.splitlines()}


def test_the_services_of_others_remain(now):
    for name in nodes.hosts("ipvs_directors"):
        listed = [line.strip() for line in now[name]["table"].splitlines()]
        assert [line for line in listed if line.startswith(("-A", "-a"))] == FOREIGN_TABLE, name


@pytest.mark.parametrize("part", ["addresses", "routes"])
def test_is_as_before_save_for_what_others_added(part, now, pristine):
    for name in nodes.managed():
        assert others(now[name][part]) == others(pristine[name][part]), name
        assert others(now[name][part]) != now[name][part].splitlines(), name


def test_links_are_as_before(now, pristine):
    for name in nodes.managed():
        live, before = links(now[name]["links"]), links(pristine[name]["links"])
        assert {link: line for link, line in live.items() if link in before or link not in FALLBACKS} == before, name


@pytest.mark.parametrize("part", ["tunnel_ports", "rules", "files"])
def test_is_as_before(part, now, pristine):
    for name in nodes.managed():
        assert now[name][part] == pristine[name][part], name


def test_sysctls_that_others_may_rely_on_stay(now, pristine, inventory):
    # by NAT alone a backend has no VIP to keep quiet about
    quiet = {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}
    has_vips = any(service["forward"] != "nat" for service in inventory["ipvs_services"])
    for name in nodes.hosts("ipvs_backends"):
        live, before = (nodes.sysctls(state[name]["sysctls"]) for state in (now, pristine))
        assert {key: live[key] for key in quiet} == (quiet if has_vips else {key: before[key] for key in quiet}), name


def test_a_second_removal_finds_nothing(scenario):
    absent = {"ipvs_director_state": "absent", "ipvs_backend_state": "absent"}
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "--extra-vars", json.dumps(absent))
    assert run.status == 0, run.output
    assert run.total("changed") == 0, run.output
