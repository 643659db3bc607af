# SPDX-License-Identifier: GPL-3.0-or-later
"""The role ipvs_director with hundreds of services, and inventories that must not cost it any of them; modules with
more arguments than a pipe holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.director import COUNTING, PLACE, Director, Play

VIPS = [f"198.51.100.{last}" for last in range(101, 121)]
PORTS = list(range(8001, 8016))
SERVERS = {f"web{last}": {"ipvs_address": f"198.51.100.{last}"} for last in range(11, 21)}
WEB = {
    "name": "web",
    "addresses": VIPS,
    "ports": PORTS,
    "forward": "nat",
    "servers_from": {"group": "web", "address": "ipvs_address"},
}
MOST_STARTS = 15
PIPE = 65536  # bytes that it holds (pipe(7))


def build(
    director: Director,
    services: list[dict[str, Any]],
    servers: dict[str, Any] = SERVERS,
    check: bool = False,
    **more: Any,
) -> Play:
    """Run the playbook of the collection for services with the group ``web`` of servers."""
    variables = {"ipvs_services": services, **more}
    # what is marked so is not rendered, as if it had been by mistake
    text = json.dumps(variables).replace('"{{ left', '!unsafe "{{ left')
    return director.play("l4lb.ipvs.site", text, groups={"web": servers}, check=check)


@pytest.fixture(scope="module")
def built(director: Director) -> Iterator[Director]:
    """The director with 300 services of ten servers each; without them at the end."""
    first = build(director, [WEB])
    print(f"first run: {first.seconds:.1f} s, {first.starts} modules")
    assert first.status == 0, first.output
    yield director
    gone = build(director, [WEB], ipvs_director_state="absent")
    assert gone.status == 0, gone.output
    assert director.table() == []
    assert vips(director) == set()


def vips(director: Director) -> set[str]:
    return {word.partition("/")[0] for word in director.lab.ssh("ip -o address show dev eth1").split()} & set(VIPS)


def state(director: Director) -> list[str]:
    """What an inventory must not cost."""
    return [*sorted(director.table()), *director.lab.ssh("ip -o address; nft -s list ruleset").splitlines()]


def test_the_second_run_of_many_services_is_short(built: Director) -> None:
    again = build(built, [WEB])
    print(f"second run: {again.seconds:.1f} s, {again.starts} modules")
    assert again.status == 0, again.output
    assert not again.changed, again.output
    assert 1 < again.starts <= MOST_STARTS
    table = built.table()
    assert [sum(line.startswith(word) for line in table) for word in ("-A", "-a")] == [300, 3000]
    assert vips(built) == set(VIPS)


@pytest.mark.parametrize(
    ("services", "servers", "told"),
    [
        pytest.param([], SERVERS, "would remove 300 of 300 services, and nothing is listed", id="no services"),
        pytest.param(
            [{**WEB, "addresses": VIPS[:10]}], SERVERS, "would remove 150 of 300 services", id="half of the services"
        ),
        pytest.param([WEB], {}, "would remove 3000 of 3000 servers", id="an empty group"),
        pytest.param([WEB], dict(list(SERVERS.items())[:5]), "would remove 1500 of 3000 servers", id="half of a group"),
        pytest.param([WEB], {**SERVERS, "web20": {}}, "host web20 of group web has no variable", id="no address"),
        pytest.param(
            [{**WEB, "addresses": ["{{ left }}"]}],
            SERVERS,
            "looks like an unrendered template",
            id="a template left over",
        ),
        pytest.param(
            [{**WEB, "addresses": ["{{ absent }}"]}], SERVERS, "'absent' is undefined", id="an undefined variable"
        ),
    ],
)
def test_a_broken_inventory_removes_nothing(
    built: Director, services: list[dict[str, Any]], servers: dict[str, Any], told: str
) -> None:
    before = state(built)
    for check in (True, False):
        run = build(built, services, servers, check)
        assert run.status != 0, run.output
        assert told in run.output
        assert state(built) == before


def test_two_playbooks_at_once(built: Director, tmp_path: Path) -> None:
    """Both make the same change: one waits for the other, and both end well."""
    changed = [{**WEB, "scheduler": "rr"}]
    with ThreadPoolExecutor() as pool:
        plays = list(pool.map(lambda one: build(one, changed), [built, Director(built.lab, tmp_path)]))
    for play in plays:
        assert play.status == 0, play.output
    table = built.table()
    assert [sum(line.startswith(word) for line in table) for word in ("-A", "-a")] == [300, 3000]
    assert all(line.endswith(" -s rr") for line in table if line.startswith("-A"))
    assert not build(built, changed).changed


def test_a_vip_goes_with_its_last_service(built: Director) -> None:
    fewer = {**WEB, "addresses": VIPS[:-1]}
    last = {**WEB, "addresses": VIPS[-1:], "ports": PORTS[:1]}
    for services, count, held in (([fewer, last], 286, VIPS), ([fewer], 285, VIPS[:-1])):
        run = build(built, services)
        assert run.status == 0, run.output
        assert len([line for line in built.table() if line.startswith("-A")]) == count
        assert vips(built) == set(held)
        assert not build(built, services).changed


@pytest.fixture(scope="module")
def interpreters(director: Director) -> dict[str, str | None]:
    """The node's own Python, one without what is installed for it, and whichever Ansible finds."""
    director.lab.ssh(f"python3 -m venv --without-pip {PLACE}/venv")
    return {"counting": COUNTING, "venv": f"{PLACE}/venv/bin/python", "unset": None}


@pytest.mark.parametrize("name", ["counting", "venv", "unset"])
def test_arguments_larger_than_a_pipe(director: Director, interpreters: dict[str, str | None], name: str) -> None:
    servers = [{"address": f"198.51.100.{2 + number // 10}", "port": 8000 + number % 10} for number in range(2000)]
    services = [{"address": "192.0.2.10", "port": 443, "forward": "nat", "servers": servers}]
    assert len(json.dumps(services)) > PIPE
    module = {"l4lb.ipvs.ipvs_table": {"services": services}}
    tasks: list[dict[str, Any]] = [
        {"name": "Build", **module, "register": "first"},
        {"name": "Build again", **module, "register": "second"},
        {"name": "Compare", "ansible.builtin.assert": {"that": ["first is changed", "second is not changed"]}},
    ]
    play = {"hosts": "ipvs_directors", "gather_facts": False}
    built = director.play([{**play, "tasks": tasks}], interpreter=interpreters[name])
    print(f"{built.seconds:.1f} s")
    assert built.status == 0, built.output
    assert len([line for line in director.table() if " 192.0.2.10:443 " in line]) == 2001
    director.lab.ssh("ipvsadm -D -t 192.0.2.10:443")
