# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""AnsibleModule's specs of services and servers, and the way from a task's options to the model.

Options that the model validates are ``raw`` or plain ``str`` here: AnsibleModule stops at its first error, takes
``true`` for 1 and ``"080"`` for 80.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _model, _values
from ._errors import Findings

STATE: dict[str, Any] = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}
FORCE: dict[str, Any] = {"force": {"type": "bool", "default": False}}
SERVICE_KEY: dict[str, Any] = {
    "address": {"type": "str"},
    "port": {"type": "raw"},
    "protocol": {"type": "str"},
    "fwmark": {"type": "raw"},
    "family": {"type": "str"},
}
SERVICE_OPTIONS: dict[str, Any] = {
    "scheduler": {"type": "str"},
    "scheduler_flags": {"type": "list", "elements": "str"},
    "persistence_timeout": {"type": "raw"},
    "persistence_netmask": {"type": "raw"},
    "persistence_engine": {"type": "str"},
    "one_packet": {"type": "raw"},
}
SERVER_KEY: dict[str, Any] = {
    "service": {"type": "dict", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "raw"},
}
SERVER_OPTIONS: dict[str, Any] = {
    "forward": {"type": "str"},
    "weight": {"type": "raw"},
    "upper_threshold": {"type": "raw"},
    "lower_threshold": {"type": "raw"},
    "tunnel_type": {"type": "str"},
    "tunnel_port": {"type": "raw"},
    "tunnel_checksum": {"type": "str"},
}


def parse_service(params: Mapping[str, Any], findings: Findings) -> tuple[_model.ServiceKey, dict[str, Any]]:
    """The service that a task names, and its parsed options that are given.

    :raises InvalidInput: one of them is bad.
    """
    written = _values.given(params, [field.name for field in _model.SERVICE_FIELDS])
    parsed = _values.record(_model.SERVICE_FIELDS, written, "", findings) or {}
    key = _model.make_key(parsed, written, "", findings)
    _values.refuse_with_absent(params, {**SERVICE_OPTIONS, **FORCE}, findings)
    return findings.parsed(key), parsed


def parse_server(params: Mapping[str, Any], findings: Findings) -> tuple[_model.ServiceKey, dict[str, Any]]:
    """The service that a task names under ``service``, and its parsed options of a server that are given.

    :raises InvalidInput: one of them is bad.
    """
    key = _model.parse_key(params["service"], "service", findings)
    written = _values.given(params, [field.name for field in _model.SERVER_FIELDS])
    parsed = _values.record(_model.SERVER_FIELDS, written, "", findings) or {}
    _values.refuse_with_absent(params, SERVER_OPTIONS, findings)
    return findings.parsed(key), parsed
