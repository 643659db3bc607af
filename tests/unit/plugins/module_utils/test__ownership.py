# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of what is ours."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import _module, _ownership
from plugins.module_utils._apply import Outcome
from plugins.module_utils._errors import Findings, Forbidden, IpvsError
from plugins.module_utils._model import Entry, ServiceKey, Table, parse_services
from plugins.module_utils._ownership import Register
from plugins.module_utils._plan import Operation, plan
from plugins.module_utils._policy import Owned


def table(*services: dict[str, Any]) -> Table:
    return parse_services(list(services), "services", Findings())


WEB = {"address": "192.0.2.10", "port": 80, "servers": [{"address": "198.51.100.11"}, {"address": "198.51.100.12"}]}
MARK = {"fwmark": 7, "family": "ipv6", "servers": [{"address": "2001:db8::11"}]}
HELD = table(WEB, MARK)
ADDING = plan({}, HELD)
ADDITIONS = ADDING.operations
REMOVALS = plan(HELD, {}, HELD).operations
WEB_KEY, MARK_KEY = HELD
FIRST, SECOND = sorted(HELD[WEB_KEY].servers)
OURS = Owned(frozenset(HELD), frozenset((key, one) for key, entry in HELD.items() for one in entry.servers))


def of(action: str, operations: tuple[Operation, ...] = ADDITIONS) -> Operation:
    """The first operation of the kind that is about the service WEB."""
    return next(one for one in operations if one.action == action and one.key == WEB_KEY)


def outcome(
    applied: tuple[Operation, ...] = (),
    failed: tuple[tuple[Operation, int], ...] = (),
    not_attempted: tuple[Operation, ...] = (),
) -> Outcome:
    return Outcome(applied, failed, not_attempted)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(_module, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(_ownership, "BOOT_ID", str(tmp_path / "boot_id"))
    (tmp_path / "boot_id").write_text("a boot\n")
    monkeypatch.setattr(_module, "namespace_cookie", lambda: 1)
    return tmp_path / "state"


@pytest.fixture
def claimed() -> Register:
    register = Register()
    register.claim(ADDING)
    return register


def test_at_first_nothing_is_ours(state: Path) -> None:
    assert Register().owned == Owned()
    assert not state.exists()


def test_what_is_claimed_is_ours_in_the_next_run(claimed: Register) -> None:
    assert claimed.owned == Register().owned == OURS


def test_an_edit_makes_nothing_ours() -> None:
    register = Register()
    edited = table({**WEB, "scheduler": "rr", "forward": "nat"})
    register.claim(plan(table(WEB), edited))
    assert Register().owned == Owned()


def test_the_record_is_for_root_alone_and_leaves_no_rest(claimed: Register, state: Path) -> None:
    [path] = state.iterdir()
    assert str(path) == claimed.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_record_that_stays_is_not_written(claimed: Register) -> None:
    before = os.stat(claimed.path)
    register = Register()
    register.claim(ADDING)
    register.settle(outcome(applied=ADDITIONS))
    register.strike(HELD)
    assert os.stat(claimed.path).st_ino == before.st_ino


def test_another_boot_makes_it_void(claimed: Register, tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("another boot\n")
    register = Register()
    assert register.owned == Owned()
    register.claim(plan({}, {WEB_KEY: Entry(HELD[WEB_KEY].service, {})}))
    assert Register().owned == Owned(frozenset([WEB_KEY]))


def test_a_namespace_with_the_number_of_one_that_is_gone_has_nothing(
    claimed: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_module, "namespace_cookie", lambda: 7777)
    assert Register().owned == Owned()


def test_each_network_namespace_has_its_own(claimed: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_module, "namespace_id", lambda: "4-4026532000")
    assert Register().owned == Owned()
    Register().claim(ADDING)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_it_is_replaced_whole_or_not_at_all(claimed: Register, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    class Crash(BaseException):
        pass

    def crash(*dummy: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(_ownership.os, moment, crash)
        with pytest.raises(Crash):
            claimed.settle(outcome(applied=REMOVALS))
    assert Register().owned == OURS
    Register().settle(outcome(applied=REMOVALS))
    assert Register().owned == Owned()


def test_a_record_that_cannot_be_written_is_told(claimed: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*dummy: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_ownership.os, "fsync", full)
    with pytest.raises(IpvsError, match=r"the ownership file .* cannot be written: No space left on device"):
        claimed.settle(outcome(applied=REMOVALS))
    assert claimed.owned == OURS


def test_a_record_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, claimed: Register) -> None:
    def broken(*dummy: Any, **options: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("builtins.open", broken)
    with pytest.raises(IpvsError, match=r"the ownership file .* cannot be read: Input/output error"):
        assert Register().owned


def test_another_user_is_told_to_become_root(monkeypatch: pytest.MonkeyPatch, claimed: Register) -> None:
    def denied(*dummy: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(Forbidden, match="become: true"):
        assert not Register().owned


LIFE = {"boot_id": "a boot", "cookie": 1}
SERVICE = [0, 2, 6, "c000020a", 80]


@pytest.mark.parametrize(
    "held",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '"\u00e4"',
        "[" * 100_000,
        f'{{"boot_id": {"9" * 5000}}}',
        json.dumps(LIFE),
        json.dumps({**LIFE, "services": 7, "servers": []}),
        json.dumps({**LIFE, "services": ["web"], "servers": []}),
        json.dumps({**LIFE, "services": [SERVICE[:4]], "servers": []}),
        json.dumps({**LIFE, "services": [[0, 2, 6, "c00", 80]], "servers": []}),
        json.dumps({**LIFE, "services": [], "servers": [SERVICE]}),
        json.dumps({**LIFE, "services": [[None, *SERVICE[1:]]], "servers": []}),
        json.dumps({**LIFE, "services": [], "servers": [[SERVICE, [[2, "c633640b", "80"]]]]}),
    ],
)
def test_a_record_that_is_none_is_told(claimed: Register, held: str) -> None:
    Path(claimed.path).write_text(held, encoding="utf-8")
    with pytest.raises(IpvsError, match=r"the ownership file .*\.owned cannot be understood .*: remove it, and"):
        assert not Register().owned


# what becomes of a claim


def settled(result: Outcome, register: Register) -> Owned:
    register.settle(result)
    assert Register().owned == register.owned
    return register.owned


def test_a_service_that_goes_takes_its_servers_along(claimed: Register) -> None:
    assert settled(outcome(applied=(of("remove_service", REMOVALS),)), claimed) == Owned(
        frozenset([MARK_KEY]), frozenset((MARK_KEY, one) for one in HELD[MARK_KEY].servers)
    )


def test_a_server_that_goes_goes_alone(claimed: Register) -> None:
    [removal] = plan(HELD, {}, (), [(WEB_KEY, FIRST)]).operations
    assert settled(outcome(applied=(removal,)), claimed) == Owned(OURS.services, OURS.servers - {(WEB_KEY, FIRST)})


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EINVAL, errno.ESRCH])
def test_an_addition_that_failed_is_not_ours(claimed: Register, number: int) -> None:
    failed = ((of("add_server"), number),)
    assert settled(outcome(failed=failed), claimed) == Owned(OURS.services, OURS.servers - {(WEB_KEY, FIRST)})


def test_a_service_that_another_added_leaves_our_servers_ours(claimed: Register) -> None:
    result = outcome(failed=((of("add_service"), errno.EEXIST),))
    assert settled(result, claimed) == Owned(frozenset([MARK_KEY]), OURS.servers)


def test_what_was_never_sent_is_not_ours(claimed: Register) -> None:
    assert settled(outcome(not_attempted=ADDITIONS), claimed) == Owned()


def test_what_is_gone_already_is_not_ours(claimed: Register) -> None:
    [removal] = plan(HELD, {}, (), [(WEB_KEY, FIRST)]).operations
    failed = ((removal, errno.ENOENT), (of("remove_service", REMOVALS), errno.ESRCH))
    assert settled(outcome(failed=failed), claimed).services == {MARK_KEY}


def test_what_nobody_knows_of_stays_claimed(claimed: Register) -> None:
    broken = Outcome((), (), (), unknown=(*ADDITIONS, *REMOVALS), broken=IpvsError("broken off"))
    assert settled(broken, claimed) == OURS


def test_what_could_not_be_removed_stays_ours(claimed: Register) -> None:
    failed = tuple((removal, errno.ENOMEM) for removal in REMOVALS)
    assert settled(outcome(failed=failed), claimed) == OURS
    assert settled(outcome(not_attempted=REMOVALS), claimed) == OURS


# what is gone


@pytest.fixture(params=[None, [WEB_KEY], [MARK_KEY]], ids=["all", "web", "mark"])
def keys(request: pytest.FixtureRequest) -> list[ServiceKey] | None:
    """The services that a run looks at."""
    return request.param


def left(keys: list[ServiceKey] | None, services: set[ServiceKey], servers: set[Any]) -> Owned:
    """What is ours, without these, which are the service WEB or of it, if the run looks at it."""
    return OURS if keys == [MARK_KEY] else Owned(OURS.services - services, OURS.servers - servers)


@pytest.mark.parametrize("how", ["strike", "conclude"])
def test_a_service_that_is_gone_is_struck_out_with_its_servers(
    claimed: Register, keys: list[ServiceKey] | None, how: str
) -> None:
    live = {MARK_KEY: HELD[MARK_KEY]}
    register = Register(keys)
    register.strike(live) if how == "strike" else register.conclude(plan({}, live))
    of_web = {pair for pair in OURS.servers if pair[0] == WEB_KEY}
    assert register.owned == Register().owned == left(keys, {WEB_KEY}, of_web)


def test_a_server_that_is_gone_is_struck_out_alone(claimed: Register, keys: list[ServiceKey] | None) -> None:
    entry = HELD[WEB_KEY]
    register = Register(keys)
    register.strike({**HELD, WEB_KEY: Entry(entry.service, {SECOND: entry.servers[SECOND]})})
    assert register.owned == Register().owned == left(keys, set(), {(WEB_KEY, FIRST)})


def test_what_is_gone_and_added_again_is_ours_at_every_moment(
    claimed: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = []
    monkeypatch.setattr(Register, "_store", lambda dummy, owned: stored.append(owned))
    Register().claim(ADDING)
    assert stored == [OURS]
