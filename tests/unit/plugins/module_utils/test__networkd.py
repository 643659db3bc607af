# SPDX-License-Identifier: GPL-3.0-or-later
"""_networkd: which of its files counts, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils import _networkd

RULES, ROUTES = _networkd.OPTIONS
OFF = f"[Network]\n#{ROUTES}=yes\n{ROUTES} = no\n{RULES}=off\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, [RULES, ROUTES]),
        ({"etc/systemd/networkd.conf": OFF}, []),
        ({"usr/lib/systemd/networkd.conf.d/10-x.conf": OFF}, []),
        ({"etc/systemd/networkd.conf": OFF, "usr/lib/systemd/networkd.conf.d/1.conf": f"{RULES}=yes"}, [RULES]),
        ({"etc/systemd/networkd.conf": f"{ROUTES}=no\n", "usr/lib/systemd/networkd.conf": OFF}, [RULES]),
        ({"etc/systemd/networkd.conf.d/a.conf": "", "usr/lib/systemd/networkd.conf.d/a.conf": OFF}, [RULES, ROUTES]),
        ({"etc/systemd/networkd.conf.d/b.conf": f"{RULES}=true", "run/systemd/networkd.conf.d/a.conf": OFF}, [RULES]),
    ],
)
def test_the_last_word_counts(
    files: dict[str, str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_networkd, "ROOT", str(tmp_path))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _networkd.options_to_switch_off() == [], "it does not run"
    (tmp_path / _networkd.STATE).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / _networkd.STATE).write_text("OPER_STATE=routable\n")
    assert _networkd.options_to_switch_off() == expected


UNIT = "run/systemd/network/10-netplan-eth0.network"
NAME = "10-netplan-eth0.network"
KEEP = "[Network]\nKeepConfiguration=static\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({UNIT: "[Network]\nDHCP=yes\n"}, NAME),
        ({UNIT: KEEP}, ""),
        ({UNIT: KEEP.replace("static", "yes")}, ""),
        ({UNIT: KEEP.replace("static", "dhcp")}, NAME),
        ({UNIT: "", f"etc/systemd/network/{NAME}.d/keep.conf": KEEP}, ""),
        ({UNIT: KEEP, f"usr/lib/systemd/network/{NAME}.d/x.conf": KEEP.replace("static", "no")}, NAME),
        ({f"etc/systemd/network/{NAME}.d/x.conf": "", f"run/systemd/network/{NAME}.d/x.conf": KEEP}, NAME),
    ],
)
def test_the_file_that_drops_addresses_is_named(
    files: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_networkd, "ROOT", str(tmp_path))
    state = {f"{_networkd.LINKS}/2": f"ADMIN_STATE=configured\nNETWORK_FILE=/{UNIT}\n"}
    for name, text in {**files, **state}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _networkd.file_that_drops_addresses(2) == "", "it does not run"
    (tmp_path / _networkd.STATE).write_text("OPER_STATE=routable\n")
    assert _networkd.file_that_drops_addresses(2) == expected
    (tmp_path / _networkd.LINKS / "3").write_text("ADMIN_STATE=unmanaged\n")
    assert _networkd.file_that_drops_addresses(3) == _networkd.file_that_drops_addresses(4) == ""
