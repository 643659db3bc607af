# SPDX-License-Identifier: GPL-3.0-or-later
"""What a key that is not known is answered with."""

from __future__ import annotations

import pytest

from plugins.module_utils._errors import Findings
from plugins.module_utils._hints import SERVER_WORDS, SERVICE_WORDS
from plugins.module_utils._model import ENTRY_FIELDS, INVENTORY_KEYS, SERVER_FIELDS, parse_services

SERVER = {"address": "198.51.100.11"}
WEB = {"address": "192.0.2.10", "port": 80}
SERVICE_KEYS = {*(field.name for field in ENTRY_FIELDS), *INVENTORY_KEYS}


def told(key: str, of_server: bool = False) -> str:
    findings = Findings()
    servers = [{**SERVER, key: 1}] if of_server else [SERVER]
    parse_services([{**WEB, "servers": servers, **({} if of_server else {key: 1})}], "services", findings)
    return str(findings.problems[0])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("server_from", "servers_from"),
        ("adresses", "addresses"),
        ("pools", "pool"),
        ("marks", "mark"),
        ("director", "directors"),
        ("schedular", "scheduler"),
        ("adress", "address"),
        ("servrs", "servers"),
        ("return_paht", "return_path"),
    ],
)
def test_the_key_that_is_nearest_is_suggested_also_one_of_the_inventory(key: str, meant: str) -> None:
    assert told(key) == f"services[0].{key}: unknown key; did you mean {meant}?"


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("lb_algo", "use scheduler"),
        ("lb_kind", "use forward"),
        ("real_server", "use servers"),
        ("real_servers", "use servers"),
        ("Real-Server", "use servers"),
        ("timeout", "time-outs of connections are not supported here: set them by ipvsadm --set"),
        ("persistence_granularity", "use persistence_netmask"),
        ("health_check", "health checks are not supported"),
        ("delay_loop", "health checks are not supported"),
        ("virtualhost", "health checks are not supported"),
        ("sorry_server", "a sorry server is not supported"),
        ("quorum", "a quorum is not supported"),
    ],
)
def test_words_of_other_programs_are_answered_with_ours(key: str, answer: str) -> None:
    assert told(key).startswith(f"services[0].{key}: unknown key; {answer}")


def test_words_of_a_server_have_answers_of_their_own() -> None:
    assert told("uthreshold", of_server=True) == "services[0].servers[0].uthreshold: unknown key; use upper_threshold"
    assert "is of the service, for all its servers" in told("lb_algo", of_server=True)


def test_what_is_suggested_is_there_and_what_is_known_needs_no_answer() -> None:
    servers = {field.name for field in SERVER_FIELDS}
    for words, keys in ((SERVICE_WORDS, SERVICE_KEYS), (SERVER_WORDS, servers)):
        assert not keys & words.keys()
        used = [text.split()[1].rstrip(",") for text in words.values() if text.startswith("use ")]
        assert set(used) <= keys


@pytest.mark.parametrize("port", ["8000-8010", "8000 - 8010"])
def test_a_range_of_ports_is_sent_to_a_mark(port: str) -> None:
    findings = Findings()
    parse_services([{**WEB, "port": port, "servers": [SERVER]}], "services", findings)
    assert str(findings.problems[0]) == (
        "services[0].port: must be one port; a range goes by a firewall mark: use fwmark, and in the inventory mark "
        f"with ports (got '{port}')"
    )
