# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rebooted director and a rebooted backend have before anything runs on them again.

They are here because the scenario has source NAT, which needs a sysctl that is there only with IPVS, and direct
routing, and is over after its tests.
"""

import pytest

import nodes

DROPIN = "/etc/sysctl.d/99-zz-l4lb-ipvs-{}.conf"
#: node -> its drop-in, and a key of it that has another value by default
NODES = {
    nodes.DIRECTOR: (DROPIN.format("director"), "net.ipv4.vs.conntrack"),
    "backend1": (DROPIN.format("backend"), "net.ipv4.conf.all.arp_ignore"),
}


@pytest.fixture(scope="module", autouse=True)
def built_again(scenario):
    yield
    run = nodes.playbook(scenario, "l4lb.ipvs.site")
    assert run.status == 0, run.output


@pytest.mark.parametrize("name", NODES)
def test_f17_the_sysctls_are_in_force_as_soon_as_it_answers(name):
    dropin, key = NODES[name]
    read = f"cat /proc/sys/kernel/random/boot_id {dropin}"
    before = nodes.node(name).check_output(read)
    nodes.lab("reboot", name)
    after, live = nodes.node(name).check_output(f"{read}; echo ===; sysctl -a 2>/dev/null").split("===\n")
    assert after.splitlines()[0] != before.splitlines()[0], "it has not booted"
    assert after.splitlines()[1:] == before.splitlines()[1:]
    wanted = {name: value for name, value in nodes.sysctls(after).items() if name.startswith("net.")}
    assert wanted[key] == "1"
    found = nodes.sysctls(live)
    assert {name: found.get(name) for name in wanted} == wanted
