# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles of the directors are swapped by one variable while connections are made."""

import concurrent.futures

import captures
import nodes

VIP = "198.51.100.100"
HOLDER, STANDBY = "director2", "director1"
RATE = 200  # new connections a second
SECONDS = 90  # longer than the swap takes
WORST_SILENCE = 20  # seconds: the second director's run of the role, and the SYN that the client repeats


def test_one_variable_swaps_the_roles(scenario, record_property):
    with (
        nodes.capturing(scenario, "lan") as files,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        loading = pool.submit(nodes.httperf, VIP, 80, RATE, SECONDS)
        run = nodes.playbook(
            scenario, "l4lb.ipvs.site", "--tags", "ipvs_director_run", "-e", f"active_director={STANDBY}"
        )
        in_time = not loading.done()
        load = loading.result()
    silence = captures.longest_silence(files["lan"], VIP)
    measured = {"lost": load.failures, "of": RATE * SECONDS, "silence": round(silence, 1)}
    for name, value in measured.items():
        record_property(name, value)
    assert run.status == 0, run.output
    assert run.total("changed") == 2, run.output
    assert in_time, "the load ended before the swap"
    assert load.answers + load.failures == RATE * SECONDS, load.output
    assert 0 < silence < WORST_SILENCE, measured
    # whoever asks while nobody holds the VIP may be lost, and so may what was on its way then; nobody else
    assert load.failures < RATE * (silence + 1), measured


def test_the_other_director_answers_alone(scenario):
    with nodes.capturing(scenario, "lan") as files:
        nodes.node(nodes.CLIENT).check_output("ip neigh flush all")
        report = nodes.load(f"{VIP}:80", "--count 20")
    assert report["failures"] == 0, report["errors"]
    assert report["client_seen"] == {"198.51.100.200": 20}
    assert {mac for dummy, mac in captures.claims(files["lan"], VIP)} == {nodes.mac(STANDBY, "lan")}
