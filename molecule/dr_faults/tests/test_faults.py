# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on a backend, upon which it gets no VIP. They need a converged lab and leave it as it was."""

import json

import pytest

import nodes

BACKEND = "backend1"
VIPS = ("198.51.100.100", "2001:db8:100::100")
DROPIN = "/etc/sysctl.d/99-zz-l4lb-ipvs-backend.conf"
OTHER = "/etc/sysctl.d/99-zzz-other.conf"
KEYS = ("net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.eth1.arp_ignore")


def read_only(path):
    """The commands that make a path read-only, and that make it writable again."""
    return f"mount --bind {path} {path}; mount -o remount,ro,bind {path}", f"umount {path}"


#: name -> what makes the fault, what ends it, what the run has to report
FAULTS = {
    "another file overrides": (
        f"printf '%s = 0\\n' {' '.join(KEYS)} > {OTHER}",
        f"rm {OTHER}",
        (f"would be 0 after the next boot: {OTHER} overrides {DROPIN}", *KEYS),
    ),
    "a sysctl that cannot be written": (
        *read_only("/proc/sys/net/ipv4/conf/eth1/arp_ignore"),
        ("net.ipv4.conf.eth1.arp_ignore: the kernel refused '1': Read-only file system",),
    ),
    "a directory that cannot be written": (
        *read_only("/etc/sysctl.d"),
        (f"{DROPIN}: cannot be written: Read-only file system",),
    ),
}


def site(scenario, **variables):
    return nodes.playbook(scenario, "l4lb.ipvs.site", "--limit", BACKEND, "-e", json.dumps(variables))


@pytest.fixture(scope="module")
def unprepared(scenario):
    """A backend before the first run of the role."""
    run = site(scenario, ipvs_backend_state="absent")
    assert run.status == 0, run.output
    backend = nodes.node(BACKEND)
    for key in KEYS:
        backend.check_output(f"sysctl -w {key}=0")
    yield backend
    run = site(scenario)
    assert run.status == 0, run.output


@pytest.mark.parametrize("name", FAULTS)
def test_f18_no_vip_without_its_sysctls(scenario, unprepared, name):
    make, end, reported = FAULTS[name]
    unprepared.check_output(make)
    try:
        run = site(scenario)
    finally:
        unprepared.check_output(end)
    held = unprepared.check_output("ip -oneline address show")
    assert [vip for vip in VIPS if vip in held] == [], run.output
    assert run.status != 0, run.output
    assert [words for words in reported if words not in run.output] == [], run.output
    assert not unprepared.file(DROPIN).exists
