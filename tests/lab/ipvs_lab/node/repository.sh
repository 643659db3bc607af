#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A hook of mmdebstrap: repository.sh ROOT PACKAGE...
# Keep the packages' archives where apt of the image finds them, for nodes from which a test took them away.
set -eu
root=$1
shift
place="$root/usr/local/share/packages"
mkdir -p "$place"
cd "$place"
for package in "$@"; do
    cp "$root/var/cache/apt/archives/${package}"_*.deb .
done
for archive in *.deb; do
    dpkg-deb --field "$archive"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
        "$archive" "$(stat -c %s "$archive")" "$(sha256sum "$archive" | cut -d ' ' -f 1)"
done >Packages
