# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_mss: the whole module on an nft that keeps tables and numbers their objects as the real one does."""

from __future__ import annotations

import copy
import re
from typing import Any, Callable

import pytest

from plugins.module_utils import _kernel, _mss
from plugins.modules import ipvs_mss
from tests.unit.fake_nft import FakeNft


@pytest.fixture
def run(run_main: Callable[..., Any], fake_nft: FakeNft) -> Callable[..., Any]:
    def call(check: bool = False, **params: Any) -> Any:
        purge = {} if "state" in params else {"purge": "owned"}
        return run_main(ipvs_mss.main, {**purge, **params}, check=check)

    return call


CLAMP = {"address": "192.0.2.10", "mss": 1440}
CLAMP6 = {"address": "2001:db8::10", "mss": 1420}
SEVERAL = [{"address": "192.0.2.11", "mss": 1440}, CLAMP6, {"address": "192.0.2.9", "mss": 536}, CLAMP]


def test_the_four_modes(fake_nft: FakeNft, run: Any) -> None:
    checked = run(check=True, clamps=[CLAMP])
    assert checked["changed"]
    assert fake_nft.writes == []
    done = run(clamps=[CLAMP])
    assert done == checked
    line = "table ip l4lb_mss: 192.0.2.10 mss 1440\n"
    assert done["diff"] == {"before": "", "after": line}
    assert done["clamps"] == [CLAMP]
    assert list(fake_nft.tables) == [("ip", "l4lb_mss")]
    for again in (run(clamps=[CLAMP]), run(check=True, clamps=[CLAMP]), run(clamps=done["clamps"])):
        assert not again["changed"]
        assert again["diff"] == {"before": line, "after": line}
    assert len(fake_nft.writes) == 1


def test_a_lower_mss_is_kept_as_long_as_that_is_asked_for(fake_nft: FakeNft, run: Any) -> None:
    lower, raised, other = {**CLAMP, "mss": 1400}, CLAMP, {**CLAMP, "address": "192.0.2.11"}
    run(clamps=[lower])
    kept = run(clamps=[raised, other], keep_former=True, purge="none")
    assert kept["diff"]["after"].splitlines() == [
        "table ip l4lb_mss: 192.0.2.10 mss 1400",
        "table ip l4lb_mss: 192.0.2.11 mss 1440",
    ]
    assert not run(clamps=[raised, other], keep_former=True, purge="none")["changed"]
    assert run(clamps=[{**CLAMP, "mss": 1300}], keep_former=True, purge="none")["changed"]
    after = run(clamps=[raised, other])["diff"]["after"].splitlines()
    assert after[0] == "table ip l4lb_mss: 192.0.2.10 mss 1440"
    for meaningless in ({"clamps": [raised], "purge": "owned"}, {"state": "absent"}):
        assert "keep_former: means nothing with" in run(**meaningless, keep_former=True)["msg"]


def test_the_text_of_the_tables(fake_nft: FakeNft, run: Any) -> None:
    run(clamps=SEVERAL)
    (text,) = fake_nft.writes
    assert (
        re.sub(r"[0-9a-f]{32}", "DIGEST", text).expandtabs(2)
        == """\
table ip l4lb_mss
delete table ip l4lb_mss
table ip l4lb_mss {
  set clamp_536 {
    type ipv4_addr
    elements = {
      192.0.2.9
    }
  }
  set clamp_1440 {
    type ipv4_addr
    elements = {
      192.0.2.10,
      192.0.2.11
    }
  }
  chain postrouting {
    type filter hook postrouting priority mangle; policy accept;
    ip saddr @clamp_536 tcp flags syn / fin,syn,rst tcp option maxseg size set 536 comment "l4lb.ipvs DIGEST"
    ip saddr @clamp_1440 tcp flags syn / fin,syn,rst tcp option maxseg size set 1440
  }
}
table ip6 l4lb_mss
delete table ip6 l4lb_mss
table ip6 l4lb_mss {
  set clamp_1420 {
    type ipv6_addr
    elements = {
      2001:db8::10
    }
  }
  chain postrouting {
    type filter hook postrouting priority mangle; policy accept;
    ip6 saddr @clamp_1420 tcp flags syn / fin,syn,rst tcp option maxseg size set 1420 comment \
"l4lb.ipvs DIGEST"
  }
}
"""
    )
    # the order of the task does not matter
    assert not run(clamps=SEVERAL[::-1])["changed"]


def test_the_diff_is_in_the_order_of_addresses(fake_nft: FakeNft, run: Any) -> None:
    assert run(clamps=SEVERAL)["diff"]["after"].splitlines() == [
        "table ip l4lb_mss: 192.0.2.10 mss 1440",
        "table ip l4lb_mss: 192.0.2.11 mss 1440",
        "table ip l4lb_mss: 192.0.2.9 mss 536",
        "table ip6 l4lb_mss: 2001:db8::10 mss 1420",
    ]


def test_what_is_not_listed_is_kept_unless_it_is_purged(fake_nft: FakeNft, run: Any) -> None:
    run(clamps=[CLAMP, CLAMP6])
    kept = run(clamps=[{**CLAMP, "mss": 1300}], purge="none")
    assert kept["diff"]["after"].splitlines() == [
        "table ip l4lb_mss: 192.0.2.10 mss 1300",
        "table ip6 l4lb_mss: 2001:db8::10 mss 1420",
    ]
    assert kept["unlisted"] == 1
    assert not run(clamps=[], purge="none")["changed"]
    assert run(clamps=[], purge="owned")["changed"]
    assert fake_nft.tables == {}


def test_removal(fake_nft: FakeNft, run: Any) -> None:
    run(clamps=SEVERAL)
    assert run(check=True, state="absent")["changed"]
    assert len(fake_nft.tables) == 2
    assert run(state="absent")["diff"]["after"] == ""
    assert fake_nft.tables == {}
    assert not run(state="absent")["changed"]


def test_n03_other_tables_stay_as_they_are(fake_nft: FakeNft, run: Any) -> None:
    foreign = {("ip", "mangle"): [{"chain": {"name": "POSTROUTING", "handle": 1}}], ("inet", "l4lb_mss"): []}
    fake_nft.tables.update(copy.deepcopy(foreign))  # type: ignore[arg-type]
    for params in ({"clamps": SEVERAL}, {"clamps": [CLAMP]}, {"state": "absent"}):
        assert run(**params)["changed"]
        assert {name: fake_nft.tables[name] for name in foreign} == foreign
    assert fake_nft.tables == foreign


@pytest.mark.parametrize("how", ["element", "other size", "rule"])
def test_a_table_changed_by_another_hand_is_restored(fake_nft: FakeNft, run: Any, how: str) -> None:
    run(clamps=SEVERAL)
    wanted = copy.deepcopy(fake_nft.tables)
    objects = fake_nft.tables[("ip", "l4lb_mss")]
    sets = [entry["set"] for entry in objects if "set" in entry]
    if how == "element":
        sets[0]["elem"].append("192.0.2.99")
    elif how == "other size":
        sets[0]["elem"].append("192.0.2.10")
    else:
        objects.append({"rule": {"handle": 99}})
    done = run(clamps=SEVERAL)
    assert done["changed"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert fake_nft.tables == wanted


def test_check_mode_does_not_load_nf_tables(fake_nft: FakeNft, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name != "nf_tables")
    monkeypatch.setattr(fake_nft, "run", lambda argv, data: pytest.fail(f"ran {argv}"))
    assert run(check=True, clamps=[CLAMP])["changed"]


def test_what_the_kernel_does_not_hold_is_told(fake_nft: FakeNft, run: Any) -> None:
    fake_nft.deaf = True
    assert "the kernel does not hold it as written" in run(clamps=[CLAMP])["msg"]


def test_an_old_nft(fake_nft: FakeNft, run: Any) -> None:
    fake_nft.version = "0.9.8"
    assert run(clamps=[CLAMP])["msg"] == "nft 0.9.8 is too old: 1.0.0 or newer is needed"


def clamp(**changes: Any) -> dict[str, Any]:
    return {"clamps": [{**CLAMP, **changes}]}


INJECTION = "filter; flush ruleset"
BAD = {
    "C02-address": ({"clamps": [{"mss": 1440}]}, r"clamps\[0\]\.address: is required"),
    "C03-list-for-an-address": (clamp(address=["192.0.2.10"]), r"clamps\[0\]\.address: must be a string"),
    "C08-too-small": (clamp(mss=47), r"clamps\[0\]\.mss: must be an integer 48\.\.65495 \(got 47\)"),
    "C08-too-large-for-a-packet": (clamp(mss=65496), r"clamps\[0\]\.mss: must be an integer 48\.\.65495"),
    "C15-other-spelling": (
        {"clamps": [CLAMP6, {"address": "2001:DB8:0::10", "mss": 1300}]},
        r"clamps\[1\]: duplicate of clamps\[0\] \(got '2001:db8::10'\)",
    ),
    # what they inject by has no option here, and every value ends as a number or an address
    "N01-table": ({"table": INJECTION, "clamps": [CLAMP]}, r"Unsupported parameters.*table"),
    "N01-in-the-address": (
        clamp(address=INJECTION),
        r"clamps\[0\]\.address: must be an IP address; host names are not resolved",
    ),
    "N01-in-the-size": (clamp(mss=INJECTION), r"clamps\[0\]\.mss: must be a decimal integer"),
    "N02-family-arp": ({"family": "arp", "clamps": [CLAMP]}, r"Unsupported parameters.*family"),
    "N04-priority": ({"priority": "mangle; drop", "clamps": [CLAMP]}, r"Unsupported parameters.*priority"),
    "N08-unspecified": (clamp(address="0.0.0.0"), r"clamps\[0\]\.address: must not be the unspecified address"),
    "N08-network": (
        clamp(address="192.0.2.0/24"),
        r"clamps\[0\]\.address: must be an IP address without a prefix length",
    ),
    "N12-snippet": ({"snippet": "x" * 2**20, "clamps": [CLAMP]}, r"Unsupported parameters.*snippet"),
    "all-at-once": (
        {"clamps": [{"address": "x", "mss": 1}, {}]},
        r"\[0\]\.address: .*\[0\]\.mss: .*\[1\]\.address: .*\[1\]\.mss: ",
    ),
}


@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(
    fake_nft: FakeNft, run: Any, params: Any, message: str
) -> None:
    refused = run(**params)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert fake_nft.writes == []
    assert run(check=True, **params)["msg"] == refused["msg"]


def test_the_number_of_clamps_is_limited(fake_nft: FakeNft, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mss, "MAX_CLAMPS", 2)
    assert run(clamps=[CLAMP] * 3)["msg"] == "clamps: must have at most 2 items (has 3)"
    assert fake_nft.writes == []
