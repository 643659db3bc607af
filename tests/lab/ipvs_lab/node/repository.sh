#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A hook of mmdebstrap: repository.sh ROOT INSTALLED... -- OFFERED...
# Keep the archives of installed packages where apt of the image finds them, for nodes from which a test removed them.
# Keep beside them those of packages that no node has yet, with the packages that these depend on.
set -eu
root=$1
shift
place="$root/usr/local/share/packages"
archives="$root/var/cache/apt/archives"
mkdir -p "$place"
cd "$place"
while [ "$1" != -- ]; do
    cp "$archives/$1"_*.deb .
    shift
done
shift
rm -f "$archives"/*.deb
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet --yes --download-only install "$@"
cp "$archives"/*.deb .
for archive in *.deb; do
    dpkg-deb --field "$archive"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
        "$archive" "$(stat -c %s "$archive")" "$(sha256sum "$archive" | cut -d ' ' -f 1)"
done >Packages
