# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the fleet does while some of its hosts are dead. The tests go on from each other, in their order."""

import itertools
import json
import threading

import nodes

STEADY = "198.51.100.101"
RATE, SECONDS = 50, 5  # new connections a second, and the length of one piece of the load
#: A director sends a connection from a port that was used in the last two minutes the way it knows.
FIRST_PORTS = itertools.count(20000, 100)


def service(name, pair, last):
    return {
        "name": name,
        "directors": pair,
        "address": f"198.51.100.{last}",
        "port": 80,
        "scheduler": "rr",
        "forward": "dr",
        "servers_from": {"group": "ipvs_backends", "address": "ipvs_address"},
    }


API, MAIL = service("api", "public", 102), service("mail", "internal", 103)


def site(scenario, *services):
    """A run with more services, while the service of the living is asked without a pause."""
    with nodes.under_load(lambda: nodes.steady_load(STEADY, 80, RATE, SECONDS)) as reports:
        run = nodes.playbook(scenario, "l4lb.ipvs.site", "-e", json.dumps({"added_services": services}))
    assert sum(report.failures for report in reports) == 0, [report.output for report in reports]
    return run


def servers(director, last):
    """The last numbers of the servers of a service, by the table of a director."""
    lines = nodes.node(director).check_output("ipvsadm -Sn").splitlines()
    return sorted(
        line.split()[4].split(".")[3].split(":")[0] for line in lines if line.startswith(f"-a -t 198.51.100.{last}:80 ")
    )


def answers(last):
    report = nodes.load(f"198.51.100.{last}:80", f"--count 20 --first-source-port {next(FIRST_PORTS)}")
    assert report["failures"] == 0, report["errors"]
    return set(report["answers"])


def kill_when(name, condition):
    """Cut the power of a node as soon as a command succeeds there."""

    def wait():
        while nodes.node(name).run(condition).rc:
            pass
        nodes.lab("kill", name)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_backend_that_is_dead_before_gets_no_server(scenario):
    nodes.lab("kill", "backend3")
    run = site(scenario, API)
    assert run.status == 4, run.output
    for line in ("backend3: not done: unreachable", "director1: done", "director4: done", "backend1: done"):
        assert line in run.output, run.output
    for director in ("director1", "director2"):
        assert (servers(director, 102), servers(director, 100)) == (["201", "202"], ["201", "202", "203"])
    assert answers(102) == {"backend1", "backend2"}


def test_a_backend_that_dies_in_the_middle_gets_no_server(scenario):
    killing = kill_when("backend2", "ip address show dev lo | grep -q 198.51.100.103/")
    run = site(scenario, API, MAIL)
    killing.join()
    assert run.status == 4, run.output
    for name in ("backend2", "backend3"):
        assert f"{name}: not done: unreachable" in run.output, run.output
    for director in ("director3", "director4"):
        assert servers(director, 103) == ["201"]
    assert servers("director1", 102) == ["201", "202"]  # what was there stays
    assert answers(103) == {"backend1"}


def test_a_dead_director_stops_its_own_pair_alone(scenario):
    for name in ("backend2", "backend3"):
        nodes.lab("start", name)
    nodes.lab("kill", "director2")
    run = site(scenario, API, MAIL)
    assert run.status == 4, run.output
    assert "director2: not done: unreachable" in run.output, run.output
    assert "director1: skipped, because director2 is not done" in run.output, run.output
    assert servers("director1", 102) == ["201", "202"]
    for director in ("director3", "director4"):
        assert servers(director, 103) == ["201", "202", "203"]
    assert answers(103) == {"backend1", "backend2", "backend3"}


def test_one_of_each(scenario):
    nodes.lab("kill", "backend3")
    run = site(scenario, API, MAIL, service("news", "internal", 104))
    assert run.status == 4, run.output
    for director in ("director3", "director4"):
        assert servers(director, 104) == ["201", "202"]
    assert answers(104) == {"backend1", "backend2"}


def test_everything_is_there_when_all_are_back(scenario):
    for name in ("backend3", "director2"):
        nodes.lab("start", name)
    run = site(scenario, API, MAIL, service("news", "internal", 104))
    assert run.status == 0, run.output
    for director, last in (("director1", 102), ("director2", 102), ("director3", 104), ("director4", 103)):
        assert servers(director, last) == ["201", "202", "203"], (director, last)
    assert answers(102) == answers(104) == {"backend1", "backend2", "backend3"}
