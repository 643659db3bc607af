#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Sets the node's network up: the management card here, the lab's own from the file that the lab wrote.
set -eu
ip -batch - <<'END'
link set lo up
link set eth0 up
address replace 10.0.2.15/24 dev eth0
END
if [ -e /etc/l4lb-lab/network ]; then
    ip -batch /etc/l4lb-lab/network
fi
