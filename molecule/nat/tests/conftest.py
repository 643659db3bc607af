# SPDX-License-Identifier: GPL-3.0-or-later
"""Many connections to the VIP, each from a port of its own."""

import pytest

import nodes


def who_answered():
    report = nodes.load("198.51.100.100:443", "--count 300 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    return {port: next(iter(names)) for port, names in report["by_source_port"].items()}


@pytest.fixture(scope="session")
def ask():
    """A function to the server of each source port, asked anew."""
    return who_answered


@pytest.fixture(scope="session")
def flows():
    """The server of each source port."""
    return who_answered()
