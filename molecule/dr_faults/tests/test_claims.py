# SPDX-License-Identifier: GPL-3.0-or-later
"""Only the director claims a VIP: every frame is captured while backends go and come.

That the captures would show another one's claim is shown in ``dr``.
"""

import contextlib
import time
from pathlib import Path

import captures
import nodes

VIP, VIP6 = "198.51.100.100", "2001:db8:100::100"
CLIENT, CLIENT6 = "198.51.100.10", "2001:db8:100::10"
ASK = (Path(nodes.__file__).parent / "ask.py").read_text()
RATES = {VIP: 1000, VIP6: 100}  # questions a second


@contextlib.contextmanager
def asking():
    """Let the client ask for both VIPs without a pause until the block ends."""
    client = nodes.node(nodes.CLIENT)
    questions = " ".join(f"{vip}={rate}" for vip, rate in RATES.items())
    start = f"python3 -c %s eth1 {CLIENT} {questions} < /dev/null > /dev/null 2>&1 & echo $!"
    asker = client.check_output(start, ASK)
    try:
        yield
    finally:
        client.check_output(f"kill {asker}")


def test_f19_no_other_host_claims_a_vip_while_backends_go_and_come(scenario, record_property):
    with nodes.capturing(scenario, "lan") as files, asking():
        begin = time.monotonic()
        removal = nodes.playbook(
            scenario, "l4lb.ipvs.site", "-e", "ipvs_backend_state=absent", "--limit", "ipvs_backends"
        )
        for name in nodes.hosts("ipvs_backends"):
            # removal leaves the running values: with them no claim would show in which order the next run goes on
            for key in ("arp_ignore", "arp_announce"):
                nodes.set_lan_sysctl(nodes.node(name), key, 0)
            nodes.node(name).check_output("ip neigh flush all; ip -6 neigh flush all")
        again = nodes.playbook(scenario, "l4lb.ipvs.site", "--limit", "ipvs_backends")
        seconds = time.monotonic() - begin
    asked = {address: captures.asked(files["lan"], address) for address in (VIP, VIP6)}
    record_property("asked", f"{asked} in {seconds:.0f} s")
    assert (removal.status, again.status) == (0, 0), removal.output + again.output
    assert removal.total("changed") > 0
    assert again.total("changed") > 0
    assert all(asked[vip] > 0.95 * rate * seconds for vip, rate in RATES.items()), asked
    director_mac = nodes.mac(nodes.DIRECTOR, "lan")
    assert captures.strangers(files["lan"], (VIP, VIP6), director_mac) == {}
    for address in (VIP, VIP6):
        assert any(mac == director_mac for dummy, mac in captures.claims(files["lan"], address)), address
