#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Balances real traffic: boots a lab, configures its director with the collection's own playbook, sends requests.
# Usage: scripts/demo.sh                        (the whole demo)
#        scripts/demo.sh COMMAND [ARGUMENT...]  (a command of tests/lab/lab for the demo's lab: ssh NODE, status, down)
set -euo pipefail
cd "$(dirname "$0")/.."

# each checkout has a lab of its own
name=demo-$(pwd -P | cksum | cut -d ' ' -f 1)
lab() { tests/lab/lab "$1" --name "$name" "${@:2}"; }
say() { printf '\n== %s\n' "$*"; }

if [ $# -gt 0 ]; then
    lab "$@"
    exit
fi

mkdir -p build/demo
inventory=build/demo/lab.yml
report=$PWD/build/demo/report.json
rm -f "$report"
# a role that does what is needed, and no more, skips most of its tasks
export ANSIBLE_DISPLAY_SKIPPED_HOSTS=${ANSIBLE_DISPLAY_SKIPPED_HOSTS:-false}
play() { ansible-playbook --inventory "$inventory" --inventory examples/nat/inventory "$@"; }

say 'Booting the lab: a client, a director and its servers as small virtual machines (the image is built once)'
lab up --topology tests/lab/topologies/nat.yml
lab inventory --output "$inventory"

say 'Configuring the director from examples/nat with playbooks/site.yml'
play playbooks/site.yml

say 'Sending requests from the client with playbooks/verify.yml'
play playbooks/verify.yml --extra-vars "ipvs_verify_report=$report"

say 'Who answered'
python3 - "$report" <<'END'
import json, pathlib, sys

report = pathlib.Path(sys.argv[1])
lines = [verdict["line"] for verdict in json.loads(report.read_text())] if report.exists() else []
sys.exit(print("\n".join(f"  {line}" for line in lines)) if lines else f"FAIL: {sys.argv[1]} does not say who answered")
END
cat <<'END'
PASS

The lab stays up. Look around:
  scripts/demo.sh ssh director1 ipvsadm -Ln --stats
  scripts/demo.sh ssh client
Stop it:
  make demo-down
END
