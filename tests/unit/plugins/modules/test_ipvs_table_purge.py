# SPDX-License-Identifier: GPL-3.0-or-later
"""What ipvs_table takes away, and what keeps it from taking too much, on a fake kernel."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import socket
from pathlib import Path
from typing import Any, Callable

import pytest

from plugins.module_utils import _module, _owners, _ownership
from plugins.module_utils._client import BATCH
from plugins.module_utils._policy import Owned
from plugins.modules.ipvs_server import main as server_main
from plugins.modules.ipvs_service import main as service_main
from plugins.modules.ipvs_table import main
from tests.unit.conftest import Machine, start_keepalived
from tests.unit.fake_kernel import WRITES, Kernel

WEB = {"address": "192.0.2.10", "port": 80, "servers": [{"address": "198.51.100.11"}, {"address": "198.51.100.12"}]}
DNS = {"address": "192.0.2.10", "port": 53, "protocol": "udp", "servers": [{"address": "198.51.100.21"}]}
MARK = {"fwmark": 7, "family": "ipv6", "servers": [{"address": "2001:db8::11"}]}
WEB_LINES = [
    "-A -t 192.0.2.10:80 -s wlc",
    "-a -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 1",
    "-a -t 192.0.2.10:80 -r 198.51.100.12:80 -g -w 1",
]
DNS_LINES = ["-A -u 192.0.2.10:53 -s wlc", "-a -u 192.0.2.10:53 -r 198.51.100.21:53 -g -w 1"]
FOREIGN = [
    "-A -t 192.0.2.99:443 -s rr -p 60",
    "-a -t 192.0.2.99:443 -r 198.51.100.99:443 -g -w 9",
    "-A -f 7 -s rr",
]
FOREIGN_SERVER = "-a -t 192.0.2.10:80 -r 198.51.100.99:80 -m -w 7 -x 9 -y 3"


@pytest.fixture
def run(run_main: Any, kernel: Kernel) -> Any:
    """run(services, **options) -> the result of ipvs_table, which is what check mode foretold."""

    def run(services: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        checked = run_main(main, {"services": services, **options}, check=True)
        done = run_main(main, {"services": services, **options})
        assert done == checked
        return done

    return run


def changed(result: dict[str, Any]) -> list[str]:
    assert not result["failed"], result["msg"]
    return result["operations"]


@pytest.mark.parametrize("purge", ["none", "owned"])
def test_what_is_foreign_stays(run: Any, kernel: Kernel, purge: str) -> None:
    kernel.restore("\n".join(FOREIGN))
    changed(run([WEB], purge=purge))
    kernel.restore(FOREIGN_SERVER)
    assert changed(run([WEB], purge=purge)) == []
    assert changed(run([DNS], purge=purge)) == [
        *DNS_LINES,
        *(["-d -t 192.0.2.10:80 -r 198.51.100.11:80", "-d -t 192.0.2.10:80 -r 198.51.100.12:80"] * (purge == "owned")),
    ]
    assert set(kernel.save()) >= {*FOREIGN, FOREIGN_SERVER, WEB_LINES[0]}


def test_what_earlier_runs_made_and_is_not_listed_goes(run: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join(FOREIGN))
    changed(run([WEB]))
    changed(run([DNS], purge="none"))
    assert changed(run([{**WEB, "servers": WEB["servers"][:1]}], purge="owned")) == [
        "-d -t 192.0.2.10:80 -r 198.51.100.12:80",
        "-D -u 192.0.2.10:53",
    ]
    assert changed(run([DNS], purge="owned")) == [*DNS_LINES, "-D -t 192.0.2.10:80"]
    assert sorted(kernel.save()) == sorted([*FOREIGN, *DNS_LINES])


def test_all_removes_what_is_not_listed_and_shows_it(run: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join([*FOREIGN, *WEB_LINES, FOREIGN_SERVER]))
    result = run([WEB], purge="all")
    assert changed(result) == ["-d -t 192.0.2.10:80 -r 198.51.100.99:80", "-D -t 192.0.2.99:443", "-D -f 7"]
    assert result["counts"] == {"remove_service": 2, "remove_server": 1}
    assert set(result["diff"]["before"].splitlines()) >= {*FOREIGN, FOREIGN_SERVER}
    assert kernel.save() == WEB_LINES


def test_adopting_an_identical_entry_does_not_make_it_ours(run: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join(WEB_LINES))
    assert changed(run([WEB], purge="owned")) == []
    assert changed(run([DNS], purge="owned")) == DNS_LINES
    assert kernel.save() == [*WEB_LINES, *DNS_LINES]


def test_editing_an_entry_does_not_make_it_ours(run: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join(WEB_LINES))
    edited = {**WEB, "scheduler": "rr", "servers": [{**server, "weight": 3} for server in WEB["servers"]]}
    assert len(changed(run([edited], purge="owned"))) == 3
    held = kernel.save()
    changed(run([DNS], purge="owned"))
    assert kernel.save() == [*held, *DNS_LINES]


def test_a_server_of_ours_leaves_a_service_of_another(run: Any, kernel: Kernel) -> None:
    kernel.restore(WEB_LINES[0])
    changed(run([WEB]))
    assert changed(run([DNS], purge="owned"))[2:] == [
        "-d -t 192.0.2.10:80 -r 198.51.100.11:80",
        "-d -t 192.0.2.10:80 -r 198.51.100.12:80",
    ]
    assert kernel.save() == [WEB_LINES[0], *DNS_LINES]


# the record


def record() -> Path:
    return Path(_ownership.Register().path)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """full(n): there is room for the record n times more."""
    fsync, room = os.fsync, [0]

    def fill(descriptor: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    def full(times: int) -> None:
        room[0] = times
        monkeypatch.setattr(_ownership.os, "fsync", fill)

    return full


FULL = "the ownership file .* cannot be written: No space left on device"


def test_without_room_for_the_record_nothing_is_written(run_main: Any, kernel: Kernel, full: Any) -> None:
    full(0)
    result = run_main(main, {"services": [WEB]})
    assert result["failed"]
    assert re.match(FULL, result["msg"])
    assert not result["changed"]
    assert kernel.writes == []


def test_a_record_that_fails_after_writing_tells_what_was_written(run_main: Any, kernel: Kernel, full: Any) -> None:
    changed(run_main(main, {"services": [WEB, DNS]}))
    full(0)
    result = run_main(main, {"services": [WEB], "purge": "owned"})
    assert result["failed"]
    assert re.match(FULL, result["msg"])
    assert result["changed"]
    assert result["outcome"]["applied"] == ["-D -u 192.0.2.10:53"]
    assert kernel.save() == WEB_LINES


def test_a_refusal_is_told_beside_a_record_that_fails(run_main: Any, kernel: Kernel, full: Any) -> None:
    kernel.refuse = {1: errno.ENOMEM}
    full(1)
    result = run_main(main, {"services": [WEB]})
    assert result["failed"]
    assert re.match(f"the kernel refused {WEB_LINES[1]}: the kernel is out of memory; {FULL}", result["msg"])
    assert result["outcome"]["applied"] == [WEB_LINES[0], WEB_LINES[2]]
    assert [one["operation"] for one in result["outcome"]["failed"]] == [WEB_LINES[1]]


def test_a_last_strike_that_fails_tells_what_was_done(run_main: Any, kernel: Kernel, full: Any) -> None:
    """The run only edits, and finds a service of ours gone."""
    changed(run_main(main, {"services": [WEB, DNS]}))
    del kernel.services[next(key for key in kernel.services if key[-1] == 53)]
    full(0)
    result = run_main(main, {"services": [{**WEB, "scheduler": "rr"}], "purge": "owned"})
    assert result["failed"]
    assert re.match(FULL, result["msg"])
    assert result["changed"]
    assert result["operations"] == ["-E -t 192.0.2.10:80 -s rr"]


def test_single_object_modules_record_nothing(run: Any, run_main: Any, kernel: Kernel) -> None:
    service = {"address": "192.0.2.10", "port": 80}
    assert changed(run_main(service_main, service)) == [WEB_LINES[0]]
    assert changed(run_main(server_main, {"service": service, "address": "198.51.100.11"})) == [WEB_LINES[1]]
    assert not record().exists()
    changed(run([DNS], purge="owned"))
    assert kernel.save() == [*WEB_LINES[:2], *DNS_LINES]


def test_single_object_modules_strike_out_what_they_delete(run: Any, run_main: Any, kernel: Kernel) -> None:
    service = {"address": "192.0.2.10", "port": 80}
    changed(run([WEB, DNS]))
    changed(run_main(server_main, {"service": service, "address": "198.51.100.11", "state": "absent"}))
    changed(run_main(service_main, {"address": "192.0.2.10", "port": 53, "protocol": "udp", "state": "absent"}))
    kernel.restore("\n".join([WEB_LINES[1], *DNS_LINES]))
    assert changed(run([MARK], purge="owned"))[2:] == ["-d -t 192.0.2.10:80 -r 198.51.100.12:80"]
    assert set(kernel.save()) > {*WEB_LINES[:2], *DNS_LINES}


def test_absent_strikes_out_what_it_removes(run: Any, kernel: Kernel) -> None:
    changed(run([WEB]))
    changed(run([WEB], state="absent"))
    kernel.restore("\n".join(WEB_LINES))
    assert changed(run([DNS], purge="owned")) == DNS_LINES


def test_check_mode_records_nothing(run_main: Any) -> None:
    changed(run_main(main, {"services": [WEB]}, check=True))
    assert not record().parent.exists()


@pytest.mark.parametrize("what", ["boot", "namespace"])
def test_ownership_ends_with_the_boot_and_at_the_namespace(
    run: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    changed(run([WEB]))
    if what == "boot":
        (tmp_path / "boot_id").write_text("another boot\n")
        monkeypatch.setattr(_ownership, "BOOT_ID", str(tmp_path / "boot_id"))
    else:
        monkeypatch.setattr(_module, "namespace_id", lambda: "4-4026532000")
    changed(run([DNS], purge="owned"))
    assert kernel.save() == [*WEB_LINES, *DNS_LINES]


@pytest.mark.parametrize("purge", ["none", "owned"])
def test_a_record_that_is_none_stops_the_task(run_main: Any, kernel: Kernel, purge: str) -> None:
    changed(run_main(main, {"services": [WEB]}))
    record().write_text("{")
    result = run_main(main, {"services": [DNS], "purge": purge})
    assert "cannot be understood" in result["msg"]
    assert kernel.save() == WEB_LINES


@pytest.mark.parametrize(
    ("of", "params"),
    [
        (main, {"services": [WEB]}),
        (service_main, {"address": "192.0.2.10", "port": 80}),
        (server_main, {"service": {"address": "192.0.2.10", "port": 80}, "address": "198.51.100.11"}),
    ],
)
def test_a_record_that_is_none_stops_a_removal(
    run_main: Any, kernel: Kernel, of: Callable[[], None], params: dict[str, Any]
) -> None:
    changed(run_main(main, {"services": [WEB]}))
    record().write_text("{")
    for check in (True, False):
        assert "cannot be understood" in run_main(of, {**params, "state": "absent"}, check=check)["msg"]
    assert kernel.save() == WEB_LINES


def test_what_a_torn_reading_misses_beside_a_removal_stays_ours(run_main: Any, kernel: Kernel) -> None:
    """Of the readings that agree on the removal the second misses another server, as where another removes one that
    is listed before it.
    """
    changed(run_main(main, {"services": [WEB]}))

    def tear(command: str) -> None:
        asked.append(command)
        if asked.count("GET_DEST") == 2:
            kernel.torn, kernel.before = 1, None

    asked: list[str] = []
    kernel.before = tear
    one = {"service": {"address": "192.0.2.10", "port": 80}, "address": "198.51.100.12", "state": "absent"}
    changed(run_main(server_main, one))
    assert kernel.save() == WEB_LINES[:2]
    assert [len(held) for held in _ownership.Register().owned] == [1, 1]


def test_a_task_that_needs_no_record_does_not_read_it(run_main: Any, kernel: Kernel) -> None:
    changed(run_main(main, {"services": [WEB]}))
    record().write_text("{")
    heavy = {**WEB, "servers": [{"address": "198.51.100.11", "weight": 7}]}
    changed(run_main(main, {"services": [heavy]}))
    assert changed(run_main(main, {"services": [heavy]})) == []


class Crash(BaseException):
    """The process is killed."""


def crash(*dummy: Any) -> None:
    raise Crash


@pytest.mark.parametrize("request_number", range(9))
def test_a_crash_leaves_nothing_that_a_later_run_does_not_know(
    run_main: Any, kernel: Kernel, request_number: int
) -> None:
    changed(run_main(main, {"services": [MARK]}))
    kernel.commands.clear()

    kernel.before = lambda dummy: crash() if len(kernel.commands) > request_number else None
    with pytest.raises(Crash):
        run_main(main, {"services": [MARK, WEB, DNS]})
    kernel.before = None
    changed(run_main(main, {"services": [MARK], "purge": "owned"}))
    assert kernel.save() == ["-A -f 7 -6 -s wlc", "-a -f 7 -6 -r [2001:db8::11]:0 -g -w 1"]


def taken_away(run_main: Any, kernel: Kernel) -> None:
    """Another removes the service WEB, which is ours."""
    changed(run_main(main, {"services": [WEB, DNS]}))
    del kernel.services[next(key for key in kernel.services if key[-1] == 80)]


def claimed(run_main: Any, kernel: Kernel) -> None:
    """A run is killed before its first write."""
    kernel.before = lambda command: crash() if command == "NEW_SERVICE" else None
    with pytest.raises(Crash):
        run_main(main, {"services": [WEB, DNS]})
    kernel.before = None


def removed(run_main: Any, kernel: Kernel) -> None:
    """A run is killed when it has removed the service, before it writes that down."""
    changed(run_main(main, {"services": [WEB, DNS]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ownership.Register, "settle", crash)
        with pytest.raises(Crash):
            run_main(main, {"services": [DNS], "purge": "owned"})


@pytest.mark.parametrize("purge", ["owned", "all"])
@pytest.mark.parametrize("gone", [taken_away, claimed, removed])
def test_what_a_run_found_gone_is_not_ours_when_it_is_back(
    run_main: Any, kernel: Kernel, gone: Callable[[Any, Kernel], None], purge: str
) -> None:
    gone(run_main, kernel)
    assert WEB_LINES[0] not in kernel.save()
    changed(run_main(main, {"services": [DNS], "purge": purge}))
    kernel.restore("\n".join(WEB_LINES))
    assert changed(run_main(main, {"services": [DNS], "purge": "owned"})) == []
    assert sorted(kernel.save()) == sorted([*WEB_LINES, *DNS_LINES])


def test_a_run_that_adds_strikes_out_what_it_found_gone(run_main: Any, kernel: Kernel) -> None:
    """Of the services that it lists."""
    changed(run_main(main, {"services": [{**WEB, "servers": WEB["servers"][:1]}, DNS]}))
    kernel.services.clear()
    changed(run_main(main, {"services": [{**WEB, "servers": []}]}))
    kernel.restore("\n".join([*WEB_LINES[:2], *DNS_LINES]))
    assert changed(run_main(main, {"services": [MARK], "purge": "owned"}))[2:] == ["-D -u 192.0.2.10:53"]
    assert set(WEB_LINES[:2]) < set(kernel.save())


@pytest.mark.parametrize("purge", ["none", "owned", "all"])
def test_a_run_that_strikes_nothing_out_does_not_write_the_record(
    run_main: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, purge: str
) -> None:
    changed(run_main(main, {"services": [WEB]}))
    monkeypatch.setattr(_ownership.os, "replace", crash)
    assert changed(run_main(main, {"services": [WEB], "purge": purge})) == []


def test_check_mode_strikes_nothing_out(run_main: Any, kernel: Kernel) -> None:
    taken_away(run_main, kernel)
    held = record().read_text()
    changed(run_main(main, {"services": [DNS], "purge": "owned"}, check=True))
    assert record().read_text() == held


def test_of_a_session_that_breaks_off_nothing_is_ours_that_was_not_sent(run_main: Any, kernel: Kernel) -> None:
    def break_off(dummy: str) -> None:
        kernel.silent = len(kernel.writes) > BATCH

    kernel.before = break_off
    result = run_main(main, {"services": many(1, servers=250)})
    assert [len(result["outcome"][name]) for name in ("applied", "unknown", "not_attempted")] == [BATCH, BATCH, 51]
    assert len(_ownership.Register().owned.servers) == 2 * BATCH - 1


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda reply: reply[: len(reply) // 2 | 1], id="cut"),
        pytest.param(lambda dummy: b"", id="empty"),
        pytest.param(lambda reply: reply[:16] + b"\xff" * (len(reply) - 16), id="garbled"),
    ],
)
def test_no_reply_is_acted_upon_that_is_not_one(run_main: Any, kernel: Kernel, spoil: Callable[[bytes], bytes]) -> None:
    """Each reply in turn: the run fails, and unless it has written already the table is as it was."""
    more = {**DNS, "port": 54}
    for number in itertools.count(1):
        changed(run_main(main, {"services": [WEB, DNS], "purge": "owned"}))
        before = kernel.save()
        kernel.commands.clear()
        replies = itertools.count(1)
        kernel.mangle = lambda reply, replies=replies, number=number: spoil(reply) if next(replies) == number else reply
        result = run_main(main, {"services": [WEB, more], "purge": "owned"})
        kernel.mangle = None
        if next(replies) <= number:  # there was no such reply
            break
        assert result["failed"], number
        assert "\n" not in result["msg"]
        assert kernel.writes or kernel.save() == before
        assert "DEL_SERVICE" not in kernel.writes or set(WEB_LINES) < set(kernel.save())
        changed(run_main(main, {"services": [WEB, more], "purge": "owned"}))
    assert not result["failed"]
    assert number > 20


def test_what_is_recorded_is_there_before_the_kernel_is_asked(run_main: Any, kernel: Kernel) -> None:
    seen = []
    kernel.before = lambda command: seen.append((command, record().exists()))
    changed(run_main(main, {"services": [WEB]}))
    assert {known for command, known in seen if command.startswith("NEW")} == {True}
    assert {known for command, known in seen[:1]} == {False}


def test_an_addition_that_the_kernel_refused_is_not_ours(run_main: Any, kernel: Kernel) -> None:
    kernel.refuse = {1: errno.EINVAL}
    assert run_main(main, {"services": [WEB]})["failed"]
    owned = _ownership.Register().owned
    assert [len(owned.services), len(owned.servers)] == [1, 1]


def test_what_another_added_meanwhile_is_not_ours(run_main: Any, kernel: Kernel) -> None:
    def add_first(dummy: str) -> None:
        kernel.before = None
        kernel.restore("\n".join(WEB_LINES[:2]))

    kernel.before = lambda command: add_first(command) if command == "NEW_SERVICE" else None
    assert changed(run_main(main, {"services": [WEB]})) == WEB_LINES[2:]
    assert changed(run_main(main, {"services": [DNS], "purge": "owned"})) == [
        *DNS_LINES,
        "-d -t 192.0.2.10:80 -r 198.51.100.12:80",
    ]
    assert kernel.save() == [*WEB_LINES[:2], *DNS_LINES]


def test_what_went_with_the_kernel_module_is_not_ours(run: Any, machine: Machine) -> None:
    changed(run([WEB]))
    machine.kernel.services.clear()
    machine.unload()
    assert changed(run([], purge="owned")) == []
    assert machine.kernel.ran == []
    assert _ownership.Register().owned == Owned()


# scope


def test_a_purge_does_not_look_outside_of_the_scope(run: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join([*FOREIGN, *DNS_LINES, "-A -t 192.0.2.10:81 -s rr"]))
    result = run([WEB], purge="all", scope={"networks": ["192.0.2.8/29"], "protocols": ["tcp"]})
    assert changed(result) == [*WEB_LINES, "-D -t 192.0.2.10:81"]
    assert set(kernel.save()) == {*FOREIGN, *DNS_LINES, *WEB_LINES}


def test_what_is_listed_outside_of_the_scope_is_refused(refused: Any) -> None:
    params = {"services": [WEB, MARK], "scope": {"networks": ["192.0.2.0/24"]}}
    assert refused(main, params) == "services: a listed service is outside of scope (got '-f 7 -6')"


# weights


def test_a_live_weight_stays_and_is_told(run: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join([WEB_LINES[0], WEB_LINES[1].replace("-w 1", "-w 0")]))
    result = run([WEB], keep_weights=True)
    assert changed(result) == [WEB_LINES[2]]
    assert result["kept_weights"] == ["-t 192.0.2.10:80 -r 198.51.100.11:80 keeps weight 0 (listed: 1)"]
    assert "kept_weights" not in run([WEB])
    assert kernel.save() == WEB_LINES


@pytest.mark.parametrize(("keep", "failed"), [(True, False), (False, True)])
def test_a_weight_that_another_sets_meanwhile_is_its_business(
    run_main: Any, kernel: Kernel, keep: bool, failed: bool
) -> None:
    def set_weight(command: str) -> None:
        if kernel.writes and command not in WRITES:
            kernel.restore(WEB_LINES[1].replace("-w 1", "-w 0"))

    kernel.before = set_weight
    result = run_main(main, {"services": [WEB], "keep_weights": keep})
    assert result["failed"] == failed, result
    assert kernel.save()[1] == WEB_LINES[1].replace("-w 1", "-w 0")


def test_a_weight_of_what_another_adds_meanwhile_is_kept(run_main: Any, kernel: Kernel) -> None:
    def add_first(dummy: str) -> None:
        kernel.before = None
        kernel.restore("\n".join([WEB_LINES[0], WEB_LINES[1].replace("-w 1", "-w 0")]))

    kernel.before = lambda command: add_first(command) if command == "NEW_SERVICE" else None
    result = run_main(main, {"services": [WEB], "keep_weights": True})
    assert changed(result) == WEB_LINES[2:]
    assert result["kept_weights"] == ["-t 192.0.2.10:80 -r 198.51.100.11:80 keeps weight 0 (listed: 1)"]


def test_many_kept_weights_are_counted(run: Any, kernel: Kernel) -> None:
    servers = [{"address": f"198.51.100.{last}"} for last in range(1, 103)]
    changed(run([{**WEB, "servers": [{**server, "weight": 2} for server in servers]}]))
    result = run([{**WEB, "servers": servers}], keep_weights=True)
    assert len(result["kept_weights"]) == 101
    assert result["kept_weights"][-1] == "... and 2 more"


# refusals


@pytest.fixture
def refuses(run_main: Any, kernel: Kernel) -> Any:
    """refuses(services, **options) -> the failed result, the same in check mode; nothing was written."""

    def run(services: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        held = kernel.save()
        kernel.commands.clear()
        results = [run_main(main, {"services": services, **options}, check=check) for check in (True, False)]
        assert results[0] == results[1]
        assert results[0]["failed"]
        assert not results[0].get("changed")
        assert kernel.writes == []
        assert kernel.save() == held
        return results[0]

    return run


@pytest.mark.parametrize("options", [{}, {"purge": "owned"}, {"purge": "all"}])
def test_an_action_that_is_not_allowed_is_refused_with_the_plan(
    refuses: Any, kernel: Kernel, options: dict[str, Any]
) -> None:
    kernel.restore(WEB_LINES[0].replace("wlc", "rr"))
    result = refuses([WEB], allow_actions=["add_server"], **options)
    assert result["msg"] == "the plan needs what allow_actions does not name: 1 x edit_service"
    assert result["operations"] == [*WEB_LINES[1:], "-E -t 192.0.2.10:80 -s wlc"]
    assert result["diff"]["after"].splitlines() == WEB_LINES


def test_an_action_that_is_not_allowed_to_absent_is_refused(refuses: Any, kernel: Kernel) -> None:
    kernel.restore("\n".join(WEB_LINES))
    result = refuses([WEB], state="absent", allow_actions=["add_service", "remove_server"])
    assert result["operations"] == ["-D -t 192.0.2.10:80"]


def test_what_needs_no_other_action_is_done(run: Any, kernel: Kernel) -> None:
    kernel.restore(WEB_LINES[0])
    assert changed(run([WEB], allow_actions=["add_server"])) == WEB_LINES[1:]
    assert changed(run([WEB], allow_actions=[])) == []


def many(count: int, servers: int = 1) -> list[dict[str, Any]]:
    held = [{"address": f"198.51.100.{last}"} for last in range(1, servers + 1)]
    return [{"address": "192.0.2.10", "port": port, "servers": held} for port in range(1, count + 1)]


@pytest.mark.parametrize("purge", ["owned", "all"])
def test_half_an_inventory_is_refused(run: Any, refuses: Any, purge: str) -> None:
    changed(run(many(40)))
    result = refuses(many(3), purge=purge)
    assert result["msg"].startswith("would remove 37 of 40 services; max_removals allows 10: look at the plan")
    assert result["operations"] == [f"-D -t 192.0.2.10:{port}" for port in range(4, 41)]
    assert result["diff"]["after"] == ""
    assert len(result["diff"]["before"].splitlines()) == 74


def test_a_large_refusal_is_told_in_part_and_counted(run: Any, refuses: Any) -> None:
    changed(run(many(300)))
    result = refuses(many(3), purge="owned")
    assert result["counts"] == {"remove_service": 297}
    assert result["operations"][99:] == ["-D -t 192.0.2.10:103", "... and 197 more"]
    assert result["diff"]["after"] == "... and 197 more services\n"
    assert len(result["diff"]["before"].splitlines()) == 201


@pytest.mark.parametrize("purge", ["owned", "all"])
def test_an_empty_inventory_is_refused_unless_it_is_meant(run: Any, refuses: Any, kernel: Kernel, purge: str) -> None:
    changed(run(many(2)))
    for options in ({}, {"max_removals": "99%"}, {"max_removals": 1}):
        assert "and none is listed" in refuses([], purge=purge, **options)["msg"]
    assert changed(run([], purge=purge, max_removals="100%")) == ["-D -t 192.0.2.10:1", "-D -t 192.0.2.10:2"]
    assert changed(run([], purge=purge)) == []
    assert kernel.save() == []


@pytest.mark.parametrize("limit", [12, "30%", "100%"])
def test_more_is_removed_if_it_is_meant(run: Any, refuses: Any, limit: object) -> None:
    changed(run(many(40)))
    assert "would remove 12 of 40 services" in refuses(many(28), purge="owned")["msg"]
    assert "allows 11" in refuses(many(28), purge="owned", max_removals=11)["msg"]
    assert len(changed(run(many(28), purge="owned", max_removals=limit))) == 12


def test_ten_are_allowed_by_any_share(run: Any, refuses: Any) -> None:
    changed(run(many(11)))
    refused = refuses(many(1), purge="owned", max_removals="0%")
    assert "would remove 10 of 11 services; max_removals allows 0" in refused["msg"]
    assert len(changed(run(many(1), purge="owned", max_removals="1%"))) == 10


def test_servers_are_limited_apart(run: Any, refuses: Any) -> None:
    changed(run(many(1, servers=40)))
    assert refuses(many(1, servers=3), purge="owned")["msg"].startswith("would remove 37 of 40 servers; ")


def test_removal_by_name_is_not_limited(run: Any) -> None:
    changed(run(many(40)))
    assert len(changed(run(many(40), state="absent"))) == 40


# readings that miss something of ours


def test_what_is_listed_and_missed_by_one_reading_stays_ours(run_main: Any, kernel: Kernel) -> None:
    changed(run_main(main, {"services": [WEB]}))
    for purge in ("owned", "none"):
        kernel.torn = 1
        assert changed(run_main(main, {"services": [WEB], "purge": purge})) == []
        assert kernel.torn == 0
    gone = run_main(main, {"services": [], "purge": "owned", "max_removals": "100%"})
    assert changed(gone) == ["-D -t 192.0.2.10:80"]


def test_what_is_not_listed_and_missed_by_one_reading_goes(run_main: Any, kernel: Kernel) -> None:
    changed(run_main(main, {"services": [WEB]}))
    kernel.torn = 1
    wanted = {**WEB, "servers": WEB["servers"][1:]}
    result = run_main(main, {"services": [wanted], "purge": "owned"})
    assert changed(result) == ["-d -t 192.0.2.10:80 -r 198.51.100.11:80"]


def test_removals_do_not_wait_for_weights_that_others_change(run_main: Any, kernel: Kernel) -> None:
    changed(run_main(main, {"services": [WEB]}))
    weights = itertools.count(2)

    def before(command: str) -> None:
        if command == "GET_DEST" and WEB_LINES[0] in kernel.save() and len(kernel.save()) == len(WEB_LINES):
            kernel.restore(f"-a -t 192.0.2.10:80 -r 198.51.100.12:80 -g -w {next(weights)}")

    kernel.before = before
    wanted = {**WEB, "servers": WEB["servers"][:1]}
    result = run_main(main, {"services": [wanted], "purge": "owned", "keep_weights": True})
    assert changed(result) == ["-d -t 192.0.2.10:80 -r 198.51.100.12:80"]


# another controller


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "kube-ipvs0")])


@pytest.fixture
def keepalived(machine: Machine, tmp_path: Path) -> Path:
    text = "vrrp_instance one {\n}\n  virtual_server 192.0.2.10 80 {\n}\n"
    return start_keepalived(tmp_path / "proc", {_owners.KEEPALIVED: text})


@pytest.mark.parametrize(
    ("controller", "named"),
    [("kube", "kube-proxy (device kube-ipvs0)"), ("keepalived", "keepalived (virtual_server in ")],
)
def test_no_purge_beside_another_controller(
    refuses: Any, run: Any, request: pytest.FixtureRequest, kernel: Kernel, controller: str, named: str
) -> None:
    request.getfixturevalue(controller)
    for purge in ("owned", "all"):
        assert refuses([WEB], purge=purge)["msg"].startswith(f"a purge is refused: {named}")
    for options, operations in (({"purge": "none"}, WEB_LINES), ({"state": "absent"}, ["-D -t 192.0.2.10:80"])):
        result = run([WEB], **options)
        assert changed(result) == operations
        [warning] = result["warnings"]
        assert warning.startswith(named)
        assert warning.endswith(" is at work on the IPVS table of this host, and may take back what this task changes")


def test_a_run_that_changes_nothing_does_not_look_for_another_controller(
    run: Any, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.restore("\n".join(WEB_LINES))
    monkeypatch.setattr(_owners, "owners", None)
    assert changed(run([WEB])) == []


def test_a_keepalived_of_another_namespace_is_no_controller(run: Any, keepalived: Path, tmp_path: Path) -> None:
    for namespace in (tmp_path / "proc" / "self" / "ns" / "net", keepalived / "ns" / "net"):
        namespace.parent.mkdir(parents=True, exist_ok=True)
        namespace.touch()
    assert changed(run([WEB], purge="all")) == WEB_LINES


# a file


@pytest.mark.parametrize("form", ["json", "ipvsadm"])
def test_a_file_lists_the_services(run_main: Any, kernel: Kernel, tmp_path: Path, form: str) -> None:
    path = tmp_path / "services"
    path.write_text(
        json.dumps([WEB, DNS]) if form == "json" else "".join(f"{line}\n" for line in WEB_LINES + DNS_LINES)
    )
    assert changed(run_main(main, {"src": str(path)})) == WEB_LINES + DNS_LINES
    assert changed(run_main(main, {"services": [WEB, DNS], "purge": "all"})) == []


THRESHOLDS = "src: ipvsadm -Sn prints no thresholds: those of -t 192.0.2.10:80 -r 198.51.100.11:80"


@pytest.mark.parametrize(
    ("live", "options", "told"),
    [
        (["-x 9 -y 3", "-x 9 -y 3"], "", [f"{THRESHOLDS} (and 1 more) go to 0"]),
        (["-x 9 -y 0", ""], "", [f"{THRESHOLDS} go to 0"]),
        (["-x 9 -y 3", ""], "-x 9", [f"{THRESHOLDS} go to 0"]),
        (["-x 9 -y 3", ""], "-x 8 -y 2", []),
        (["", ""], "", []),
    ],
)
def test_what_ipvsadm_forgets_is_told(
    run_main: Any, kernel: Kernel, tmp_path: Path, live: list[str], options: str, told: list[str]
) -> None:
    head, *servers = WEB_LINES
    kernel.restore("\n".join([head, *(f"{server} {one}" for server, one in zip(servers, live))]))
    rules, services = tmp_path / "rules", tmp_path / "services"
    rules.write_text(f"{head}\n{servers[0]} {options}\n{servers[1]}\n-A -f 7\n")
    services.write_text(json.dumps([WEB]))
    assert run_main(main, {"src": str(services)}, check=True)["warnings"] == []
    told = [*told, "src[1].servers: no servers: connections will be refused"]
    for check in (True, False):
        assert sorted(run_main(main, {"src": str(rules)}, check=check)["warnings"]) == sorted(told)
    assert run_main(main, {"src": str(rules), "state": "absent"})["warnings"] == []


def test_a_bad_file_is_refused_before_the_kernel_is_asked(refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "services"
    assert refused(main, {"src": str(path)}).startswith("src: cannot be read: ")
    path.write_text("-A -t 192.0.2.10:80\n-A --no\n")
    assert refused(main, {"src": str(path)}) == "src line 2: unknown option --no (got '-A --no')"
