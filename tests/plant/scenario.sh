#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# scenario.sh NAME WORDS: converges a molecule scenario and runs those of its tests that pytest's -k finds by the words.
# Status 0 if they pass, 1 if one fails, 3 if it did not come that far.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

trap 'molecule destroy -s "$1"' EXIT
molecule converge -s "$1" || exit 3
python -m pytest -q "molecule/$1/tests" -k "$2"
