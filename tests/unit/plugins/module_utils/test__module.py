# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge to Ansible: result, namespace and lock, the lock between real processes."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from plugins.module_utils import _module
from plugins.module_utils._errors import Findings, Forbidden, InvalidInput, IpvsError, Unavailable
from plugins.module_utils._module import (
    Task,
    enter_namespace,
    namespace_cookie,
    namespace_id,
    namespace_lock,
    run_module,
)

ROOT = Path(__file__).resolve().parents[4]
SPEC: dict[str, Any] = {"port": {"type": "raw"}}


def main_of(body: Callable[[Task], dict[str, Any]], **options: Any) -> Callable[[], None]:
    return lambda: run_module(SPEC, body, **options)


# results


@pytest.mark.parametrize(("diff", "shown"), [(True, {"diff": {"before": "", "after": "x\n"}}), (False, {})])
def test_the_diff_is_shown_when_asked_for(run_main: Any, diff: bool, shown: dict[str, Any]) -> None:
    main = main_of(lambda dummy: {"changed": True, "diff": {"before": "", "after": "x\n"}})
    assert run_main(main, {}, diff=diff) == {"failed": False, "warnings": [], "changed": True, **shown}


@pytest.mark.parametrize("check", [False, True])
def test_the_body_knows_its_parameters_and_mode(run_main: Any, check: bool) -> None:
    result = run_main(
        main_of(lambda task: {"params": task.params, "check": task.check_mode}), {"port": 80}, check=check
    )
    assert result["params"] == {"port": 80, "netns": None}
    assert result["check"] is check


def test_the_collector_leaves_a_module_alone(run_main: Any) -> None:
    assert run_main(main_of(lambda dummy: {"collects": gc.isenabled()}), {})["collects"] is False


def test_an_error_is_a_failed_task_with_details(run_main: Any) -> None:
    def body(dummy: Task) -> dict[str, Any]:
        raise IpvsError("the kernel refused", outcome={"applied": []})

    assert run_main(main_of(body), {}) == {
        "failed": True,
        "warnings": [],
        "msg": "the kernel refused",
        "outcome": {"applied": []},
    }


@pytest.mark.parametrize("failing", [False, True])
def test_a_long_parameter_is_not_repeated(run_main: Any, failing: bool) -> None:
    def body(dummy: Task) -> dict[str, Any]:
        if failing:
            raise IpvsError("the kernel refused")
        return {}

    assert "invocation" not in run_main(main_of(body), {"port": list(range(1000))})
    assert run_main(main_of(body), {"port": list(range(5000))})["invocation"] == {
        "module_args": {"port": "not repeated: 28890 characters", "netns": None}
    }


def test_many_warnings_are_counted(run_main: Any) -> None:
    def body(task: Task) -> dict[str, Any]:
        findings = Findings()
        for number in range(44_000):
            findings.warning(f"services[{number}]", "has no server")
        task.conclude(findings)
        return {}

    warnings = run_main(main_of(body), {})["warnings"]
    assert warnings[19:] == ["services[19]: has no server", "... and 43980 more"]


def test_findings_are_concluded_once(run_main: Any) -> None:
    def body(task: Task) -> dict[str, Any]:
        findings = Findings()
        findings.warning("weight", "is above 65535", 65536)
        task.conclude(findings)
        task.conclude(findings)
        findings.warning("weight", "is not told beside a problem")
        findings.problem("port", "is required")
        task.conclude(findings)
        return {}

    result = run_main(main_of(body), {})
    assert result["warnings"] == ["weight: is above 65535 (got 65536)"]
    assert (result["failed"], result["msg"]) == (True, "port: is required")


def test_commands_run_without_a_shell(run_main: Any) -> None:
    result = run_main(main_of(lambda task: {"ran": task.run(["cat", "-"], "$HOME; `id`")}), {})
    assert result["ran"] == [0, "$HOME; `id`\n", ""]


def test_a_missing_command_is_named(run_main: Any) -> None:
    result = run_main(main_of(lambda task: {"ran": task.run(["no-such-command", "x"])}), {})
    assert result["msg"] == "the command no-such-command is not installed on this host"
    assert issubclass(Unavailable, IpvsError)


# network namespaces


@pytest.fixture
def namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    directory = tmp_path / "netns"
    directory.mkdir()
    for name in ("blue", "green"):
        (directory / name).touch()
    monkeypatch.setattr(_module, "NETNS_DIR", str(directory))
    return directory


@pytest.mark.parametrize(
    "name", ["red", "../netns/blue", "./blue", "/proc/self/ns/net", "", ".", "..", "b" * 256, "a\nb"]
)
def test_an_unknown_namespace_is_refused_and_none_is_created(namespaces: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        enter_namespace(name)
    shown = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:77]}..."
    assert str(caught.value) == (
        f"netns: no such network namespace; known: blue, green (none is created) (got {shown})"
    )
    assert sorted(path.name for path in namespaces.iterdir()) == ["blue", "green"]


def test_no_namespace_at_all_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_module, "NETNS_DIR", str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match=r"known: none \(none is created\)"):
        enter_namespace("blue")
    assert not (tmp_path / "none").exists()


def test_a_known_namespace_is_entered(monkeypatch: pytest.MonkeyPatch, namespaces: Path) -> None:
    entered: list[str] = []
    monkeypatch.setattr(_module, "_setns", lambda number: entered.append(os.readlink(f"/proc/self/fd/{number}")))
    enter_namespace("green")
    enter_namespace(None)
    assert entered == [str(namespaces / "green")]


def test_a_missing_capability_to_enter_is_told(monkeypatch: pytest.MonkeyPatch, namespaces: Path) -> None:
    def refuse(dummy: int) -> None:
        raise PermissionError

    monkeypatch.setattr(_module, "_setns", refuse)
    with pytest.raises(Forbidden, match="CAP_SYS_ADMIN"):
        enter_namespace("blue")


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (Path.touch, "is no network namespace: a leftover file"),
        (Path.mkdir, "cannot be entered: Is a directory"),
        (lambda path: path.symlink_to("gone"), "cannot be entered: No such file or directory"),
    ],
)
def test_what_is_no_namespace_is_refused(namespaces: Path, make: Callable[[Path], None], rule: str) -> None:
    make(namespaces / "old")
    with pytest.raises(InvalidInput) as caught:
        enter_namespace("old")
    assert str(caught.value) == f"netns: {rule} (got 'old')"


def test_the_namespace_is_entered_before_the_body_runs(run_main: Any, namespaces: Path) -> None:
    ran: list[bool] = []
    result = run_main(main_of(lambda dummy: ran.append(True) or {}), {"netns": "red"})
    assert result["failed"]
    assert ran == []


def test_a_namespace_is_known_by_device_and_inode() -> None:
    assert re.fullmatch(r"\d+-\d+", namespace_id())
    assert f"[{namespace_id().split('-')[1]}]" in os.readlink("/proc/self/ns/net")


def test_a_namespace_has_a_cookie_where_the_kernel_gives_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert namespace_cookie() == namespace_cookie()
    monkeypatch.setattr(_module, "SO_NETNS_COOKIE", 9999)
    assert namespace_cookie() == 0


# the lock

HOLDER = """
import sys
from plugins.module_utils import _module
_module.STATE_DIR = sys.argv[1]
print("waiting", flush=True)
with _module.namespace_lock():
    print("holding", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


@contextlib.contextmanager
def process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process on its way to the lock; it lets go at a line on its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            assert started.stdout.readline() == "waiting\n"
            yield started
        finally:
            started.kill()


@pytest.fixture
def lock_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    directory = tmp_path / "lock"
    monkeypatch.setattr(_module, "STATE_DIR", str(directory))
    return directory


def test_a_second_process_waits_for_the_first(lock_dir: Path) -> None:
    with process(lock_dir) as first:
        assert first.stdout.readline() == "holding\n"
        with process(lock_dir) as second:
            with (
                pytest.raises(IpvsError, match=f"another run \\(process {first.pid}\\) has held .*lock for 0 s"),
                namespace_lock(0),
            ):
                pass
            first.stdin.write("\n")
            first.stdin.flush()
            assert first.stdout.readline() == "done\n"
            assert second.stdout.readline() == "holding\n"
            with pytest.raises(IpvsError, match=f"process {second.pid}"), namespace_lock(0):
                pass


def test_the_lock_ends_with_its_process(lock_dir: Path) -> None:
    with process(lock_dir) as holder:
        assert holder.stdout.readline() == "holding\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with namespace_lock(0):
            assert (lock_dir / f"{namespace_id()}.lock").read_text() == str(os.getpid())


def test_the_lock_is_for_its_owner_alone(lock_dir: Path) -> None:
    with namespace_lock(0):
        [path] = lock_dir.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        assert lock_dir.stat().st_mode & 0o777 == 0o700
    with namespace_lock(0):
        assert path.read_text() == str(os.getpid())


@pytest.mark.parametrize("denied", ["makedirs", "open"])
def test_the_lock_is_refused_to_another_user(lock_dir: Path, monkeypatch: pytest.MonkeyPatch, denied: str) -> None:
    def deny(*dummy: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(_module.os, denied, deny)
    with pytest.raises(Forbidden, match="become: true"), namespace_lock(0):
        pass


@pytest.mark.parametrize("failing", ["makedirs", "open"])
def test_a_lock_without_a_place_is_told(lock_dir: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def full(*dummy: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_module.os, failing, full)
    with pytest.raises(IpvsError, match=r"the lock .* cannot be made: No space left on device"), namespace_lock(0):
        pass


def test_a_full_file_system_keeps_no_run_from_the_lock(lock_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file has room there; what is in it only names the process to others."""

    def full(*dummy: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_module.os, "pwrite", full)
    with namespace_lock(0), pytest.raises(IpvsError, match=r"another run \(process unknown\)"), namespace_lock(0):
        pass


@pytest.mark.parametrize(
    ("check", "writes", "locked"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_only_a_run_that_writes_takes_the_lock(
    run_main: Any, tmp_path: Path, check: bool, writes: bool, locked: bool
) -> None:
    result = run_main(main_of(lambda dummy: {"locked": (tmp_path / "lock").exists()}, writes=writes), {}, check=check)
    assert result["locked"] is locked
