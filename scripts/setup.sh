#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes the checkout ready: Debian packages, .venv, and the link under which Ansible finds the collection.
# Usage: scripts/setup.sh [--no-machines]    (--no-machines: leave out what only the lab's machines need)
# Idempotent; says nothing and takes no time when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
link=build/collections/ansible_collections/l4lb/ipvs

# program, or path of a file:Debian package that brings it
programs=(git:git flock:util-linux shellcheck:shellcheck)
machines=(
    qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap mke2fs:e2fsprogs
    busybox:busybox-static cpio:cpio ssh:openssh-client ssh-keygen:openssh-client
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
)
# what makes files of root without being root
[ "$(id -u)" -eq 0 ] || machines+=(fakeroot:fakeroot newuidmap:uidmap)

say() { printf '== %s\n' "$*"; }

missing_packages() {
    local entry
    for entry in "$@"; do
        case $entry in
            /*) [ -f "${entry%%:*}" ] ;;
            *) PATH="$PATH:/usr/sbin:/sbin" command -v "${entry%%:*}" >/dev/null ;;
        esac || printf '%s\n' "${entry#*:}"
    done | sort -u
    "$python" -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv\n'
}

install_packages() {
    local -a prefix=() install=(apt-get install --yes --no-install-recommends "$@")
    if [ "$(id -u)" -ne 0 ]; then
        prefix=(sudo)
        if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && [ ! -t 0 ]; }; then
            say "Missing Debian packages: $*. Run as root, then try again:"
            printf 'apt-get update && %s\n' "${install[*]}"
            exit 1
        fi
    fi
    say "Installing Debian packages: $*"
    "${prefix[@]}" apt-get update --quiet --quiet
    "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}"
}

make_venv() {
    local stamp=.venv/.installed
    cmp --silent requirements-dev.txt "$stamp" && return
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "$("$python" --version) is too old for the controller: set PYTHON to Python 3.11 or newer"
        exit 1
    }
    say "Installing the Python tools of requirements-dev.txt into .venv"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
    cp requirements-dev.txt "$stamp"
}

link_collection() {
    [ "$link" -ef . ] && return
    say "Linking the collection below build/collections"
    mkdir -p "$(dirname "$link")"
    ln -sfnr . "$link"
}

packages=("${programs[@]}")
[ "${1:-}" = --no-machines ] || packages+=("${machines[@]}")
mapfile -t missing < <(missing_packages "${packages[@]}")
[ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"

mkdir -p build
exec 9>build/.setup.lock
flock 9
make_venv
link_collection
