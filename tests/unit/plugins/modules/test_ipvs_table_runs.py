# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ipvs_table one after the other on a fake kernel, with other writers, refusals and crashes in between."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from plugins.module_utils import _module, _ownership
from plugins.module_utils._model import key_text, server_text
from plugins.modules.ipvs_table import main
from tests.unit.conftest import Machine

Lines = dict[str, dict[str, str]]  # of each service, by its identity: "" its own line, and the servers'

SCHEDULERS = ["wlc", "rr", "mh"]
PURGES = ["none", "owned", "all"]
MOMENTS = ["request", "write", "record"]
PORTS = [80, 81, 82]
LASTS = [11, 12, 13]
FOREIGN = """
    -A -t 192.0.2.99:80 -s rr -p 60
    -a -t 192.0.2.99:80 -r 198.51.100.11:80 -m -w 9 -x 7
    -A -f 7 -s sh
"""


@st.composite
def listings(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A list of services, in any order, with their servers in any order."""
    return [
        {
            "address": "192.0.2.10",
            "port": port,
            "scheduler": draw(st.sampled_from(SCHEDULERS)),
            "servers": [
                {"address": f"198.51.100.{last}", "weight": draw(st.integers(0, 2))}
                for last in draw(st.lists(st.sampled_from(LASTS), unique=True))
            ],
        }
        for port in draw(st.lists(st.sampled_from(PORTS), unique=True))
    ]


def held(lines: list[str]) -> Lines:
    """Lines of ``ipvsadm -Sn`` by what they are about."""
    table: Lines = {}
    for line in lines:
        words = line.split()
        table.setdefault(" ".join(words[1:3]), {})["" if words[0] == "-A" else words[4]] = line
    return table


def wished(services: list[dict[str, Any]]) -> Lines:
    """What the list means."""
    lines = []
    for service in services:
        name = f"-t {service['address']}:{service['port']}"
        lines.append(f"-A {name} -s {service['scheduler']}")
        lines += [
            f"-a {name} -r {server['address']}:{service['port']} -g -w {server['weight']}"
            for server in service["servers"]
        ]
    return held(lines)


def objects(table: Lines) -> set[tuple[str, str]]:
    return {(key, one) for key, entry in table.items() for one in entry}


def drained(table: Lines) -> set[tuple[str, str]]:
    """The servers with weight 0."""
    return {(key, one) for key, entry in table.items() for one in entry if " -w 0" in entry[one]}


def after(before: Lines, wish: Lines, purge: str, ours: set[tuple[str, str]]) -> Lines:
    """What a run makes of a table, said in another way than the planner's."""
    result: Lines = {}
    for key in before.keys() | wish.keys():
        live, listed = before.get(key, {}), wish.get(key, {})
        stays = {one for one in live if one and (purge == "none" or (purge == "owned" and (key, one) not in ours))}
        if key in wish or stays or purge == "none" or (purge == "owned" and (key, "") not in ours):
            result[key] = {**{one: live[one] for one in {"", *stays} & live.keys()}, **listed}
    return result


class Crash(BaseException):
    """The process is killed."""


def test_runs_converge_and_spare_what_is_foreign(run_main: Any, machine: Machine) -> None:
    kernel = machine.kernel

    def ours_on_record() -> set[tuple[str, str]]:
        owned = _ownership.Register().owned
        services = {(key_text(key), "") for key in owned.services}
        return services | {(key_text(key), server_text(one)) for key, one in owned.servers}

    def another_adds(now: Lines, wish: Lines, place: int) -> set[tuple[str, str]]:
        """Something of the wish that is not there, if it can be added -> what it is."""
        found = sorted(objects(wish) - objects(now))
        possible = [(key, one) for key, one in found if not one or key in now]
        for key, one in possible[place : place + 1]:
            kernel.restore(wish[key][one])
        return set(possible[place : place + 1])

    def another_removes(now: Lines, place: int) -> set[tuple[str, str]]:
        """A service or server of the address that is listed -> it, and what goes with it."""
        found = sorted((key, one) for key, one in objects(now) if "192.0.2.10" in key)
        gone: set[tuple[str, str]] = set()
        for key, one in found[place : place + 1]:
            gone = {(key, other) for other in now[key] if one in ("", other)}
            kernel.services.clear()
            rest = {name: {it: now[name][it] for it in now[name] if (name, it) not in gone} for name in now}
            kernel.restore("\n".join(line for entry in rest.values() for line in entry.values()))
        return gone

    class Runs(RuleBasedStateMachine):
        @initialize(services=listings(), foreign=st.booleans())
        def start(self, services: list[dict[str, Any]], foreign: bool) -> None:
            """Another has made some of what will be listed, and something that never is."""
            kernel.services.clear()
            kernel.before, kernel.refuse = None, {}
            for path in Path(_module.STATE_DIR).glob("*.owned"):
                path.unlink()
            self.ours: set[tuple[str, str]] = set()
            kernel.restore("\n".join(line for entry in wished(services).values() for line in entry.values()))
            if foreign:
                kernel.restore(FOREIGN)

        def run(self, services: list[dict[str, Any]], purge: str, check: bool = False) -> dict[str, Any]:
            """One run, during which no server that is wanted before and after is ever absent, and after which what it
            added is ours, and what it found gone is not.
            """
            kernel.commands.clear()
            before, wish = held(kernel.save()), wished(services)
            planned = objects(after(before, wish, purge, self.ours))
            kept = objects(before) & objects(wish)
            disturb = kernel.before
            finished = False

            def watch(command: str) -> None:
                assert kept <= objects(held(kernel.save()))
                if disturb:
                    disturb(command)

            kernel.before = watch
            try:
                params = {"services": services, "purge": purge, "max_removals": "100%"}
                result = run_main(main, params, check=check)
                finished = not check
                return result
            finally:
                kernel.before = None
                was, now = objects(before), objects(held(kernel.save()))
                assert kept <= now
                if (finished or kernel.writes) and (purge != "none" or planned != was):
                    self.ours -= {(key, one) for key, one in self.ours - was if purge != "none" or key in wish}
                self.ours = (self.ours | (now - was)) - (was - now)

        def run_through(self, services: list[dict[str, Any]], purge: str) -> None:
            """A run makes what it should, as check mode foretold, whatever the order of the list, and the next
            one changes nothing.
            """
            expected = after(held(kernel.save()), wished(services), purge, self.ours)
            foretold = self.run(services, purge, check=True)
            turned = [{**one, "servers": one["servers"][::-1]} for one in reversed(services)]
            other = self.run(turned, purge, check=True)
            assert {**other, "warnings": []} == {**foretold, "warnings": []}
            done = self.run(services, purge)
            assert done == foretold
            assert not done["failed"]
            assert held(kernel.save()) == expected
            assert done["changed"] == bool(kernel.writes)
            assert not self.run(services, purge)["changed"]
            assert kernel.writes == []

        @rule(services=listings(), purge=st.sampled_from(PURGES))
        def make(self, services: list[dict[str, Any]], purge: str) -> None:
            self.run_through(services, purge)

        def run_until(self, services: list[dict[str, Any]], purge: str, number: int, moment: str) -> None:
            """A run that is killed before one of its requests, or of its writes, or of its changes of the record."""
            records = 0

            def kill(dummy: str) -> None:
                if moment != "record" and len(kernel.writes if moment == "write" else kernel.commands) >= number:
                    raise Crash

            def replace(*paths: str) -> None:
                nonlocal records
                records += 1
                if moment == "record" and records >= number:
                    raise Crash
                usual(*paths)

            usual = os.replace
            kernel.before = kill
            with contextlib.suppress(Crash), pytest.MonkeyPatch.context() as patch:
                patch.setattr(_ownership.os, "replace", replace)
                self.run(services, purge)

        @rule(
            services=listings(),
            purge=st.sampled_from(PURGES),
            number=st.integers(1, 20),
            moment=st.sampled_from(MOMENTS),
        )
        def crash(self, services: list[dict[str, Any]], purge: str, number: int, moment: str) -> None:
            """A run is killed, and the next one converges."""
            expected = after(held(kernel.save()), wished(services), purge, self.ours)
            self.run_until(services, purge, number, moment)
            self.run_through(services, purge)
            assert held(kernel.save()) == expected

        def run_beside_another(self, services: list[dict[str, Any]], theirs: Lines) -> None:
            """What a run finds gone, or takes away, is another's from then on."""
            self.run_through(services, "owned")
            now = held(kernel.save())
            missing = [line for key in theirs for one, line in theirs[key].items() if one not in now.get(key, {})]
            kernel.restore("\n".join(missing))
            self.run_through(services, "owned")

        @rule(
            services=listings(),
            purge=st.sampled_from(PURGES),
            number=st.integers(1, 5),
            moment=st.sampled_from(MOMENTS),
            then=listings(),
        )
        def crash_and_another_adds(
            self, services: list[dict[str, Any]], purge: str, number: int, moment: str, then: list[dict[str, Any]]
        ) -> None:
            """A run is killed, the next one has another list, and another adds what the first one was about to."""
            self.run_until(services, purge, number, moment)
            self.run_beside_another(then, wished(services))

        @precondition(lambda dummy: kernel.services)
        @rule(place=st.integers(0, 5), then=listings())
        def another_takes_the_place_of_ours(self, place: int, then: list[dict[str, Any]]) -> None:
            """Another removes a service, a run finds it gone, and it is back."""
            before = held(kernel.save())
            self.another_removes_a_service(place)
            self.run_beside_another(then, before)

        @rule(
            services=listings(),
            purge=st.sampled_from(PURGES),
            number=st.integers(0, 9),
            reason=st.sampled_from([errno.ENOMEM, errno.EINVAL]),
        )
        def refuse(self, services: list[dict[str, Any]], purge: str, number: int, reason: int) -> None:
            """The kernel refuses one write. Nothing is removed if that was no removal, no server is drained if it was
            an addition or the edit of a service, and the next run converges.
            """
            before = held(kernel.save())
            expected = after(before, wished(services), purge, self.ours)
            kernel.refuse = {number: reason}
            result = self.run(services, purge)
            kernel.refuse = {}
            assert result["failed"] == (len(kernel.writes) > number)
            if result["failed"] and not kernel.writes[number].startswith("DEL"):
                assert not [command for command in kernel.writes if command.startswith("DEL")]
                if kernel.writes[number] != "SET_DEST":
                    assert not (drained(held(kernel.save())) - drained(before)) & objects(before)
            self.run_through(services, purge)
            assert held(kernel.save()) == expected

        @rule(
            services=listings(),
            purge=st.sampled_from(PURGES),
            number=st.integers(1, 20),
            place=st.integers(0, 9),
            adds=st.booleans(),
        )
        def another_acts_meanwhile(
            self, services: list[dict[str, Any]], purge: str, number: int, place: int, adds: bool
        ) -> None:
            """Another adds something that is wanted, or removes something, before one of the requests of a run. Nothing
            else that is wanted is ever absent, what it added is its own, and the next run converges.
            """
            before, wish, recorded = held(kernel.save()), wished(services), ours_on_record()
            theirs: set[tuple[str, str]] = set()

            def act(dummy: str) -> None:
                now = held(kernel.save())
                if not theirs and len(kernel.commands) == number:
                    theirs.update(another_adds(now, wish, place) if adds else another_removes(now, place))
                assert (objects(before) & objects(wish)) - theirs <= objects(held(kernel.save()))

            kernel.commands.clear()
            kernel.before = act
            result = run_main(main, {"services": services, "purge": purge, "max_removals": "100%"})
            kernel.before = None
            now = held(kernel.save())
            assert not result["failed"] or "another writer" in result["msg"] or "another program" in result["msg"], (
                result
            )
            if purge != "all":
                assert {key: before[key] for key in before if "192.0.2.10" not in key} == {
                    key: now[key] for key in now if "192.0.2.10" not in key
                }
            assert not adds or not (theirs - recorded) & ours_on_record()
            self.ours = ours_on_record()
            self.run_through(services, purge)

        @precondition(lambda dummy: kernel.services)
        @rule(place=st.integers(0, 5), last=st.integers(98, 99))
        def another_adds_a_server(self, place: int, last: int) -> None:
            lines = [line for line in kernel.save() if line.startswith("-A -t")]
            if lines:
                name = lines[place % len(lines)].split()[2]
                if f"198.51.100.{last}:80" not in held(kernel.save())[f"-t {name}"]:
                    kernel.restore(f"-a -t {name} -r 198.51.100.{last}:80 -m -w {last} -x {last} -y 2")

        @precondition(lambda dummy: kernel.services)
        @rule(place=st.integers(0, 5))
        def another_removes_a_service(self, place: int) -> None:
            key = list(kernel.services)[place % len(kernel.services)]
            if key[0] == 2 and not key[1]:
                del kernel.services[key]

    run_state_machine_as_test(Runs, settings=settings(max_examples=100, stateful_step_count=8, deadline=None))
