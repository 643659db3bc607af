#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the scripts that the lab sends over the second serial port: one base64 line each. Answers with one line, the
# script's exit status and its output in base64. It says "ready" when it starts, which is after everything else.
exec </dev/ttyS1 >/dev/ttyS1
stty raw -echo
echo ready
while read -r line; do
    output=$(printf %s "$line" | base64 -d | sh 2>&1)
    printf '%s %s\n' "$?" "$(printf %s "$output" | base64 -w 0)"
done
