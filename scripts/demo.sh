#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Balances real traffic: boots a lab, configures its director with the collection's own playbook, sends requests.
# Usage: scripts/demo.sh [down]
set -euo pipefail
cd "$(dirname "$0")/.."

lab() { tests/lab/lab "$1" --name demo "${@:2}"; }
say() { printf '\n== %s\n' "$*"; }

if [ "${1:-}" = down ]; then
    lab down
    exit
fi

mkdir -p build/demo
inventory=build/demo/lab.yml
play() { ansible-playbook --inventory "$inventory" --inventory examples/nat/inventory "$@"; }

say 'Booting the lab: a client, a director and its servers as small virtual machines (the image is built once)'
lab up --topology tests/lab/topologies/nat.yml
lab inventory --output "$inventory"

say 'Configuring the director from examples/nat with playbooks/site.yml'
play playbooks/site.yml

say 'Sending requests from the client with playbooks/verify.yml'
play playbooks/verify.yml | tee build/demo/verify.log

say 'Who answered'
answered=$(sed -n '/^TASK \[Show who answered\]/,/^$/s/^ *"\(.*\)",\{0,1\}$/  \1/p' build/demo/verify.log)
if [ -z "$answered" ]; then
    echo 'FAIL: build/demo/verify.log does not tell who answered' >&2
    exit 1
fi
echo "$answered"
cat <<'END'
PASS

The lab stays up. Look around:
  . .venv/bin/activate
  tests/lab/lab ssh --name demo director1 ipvsadm -Ln --stats
  tests/lab/lab ssh --name demo client
Stop it:
  make demo-down
END
