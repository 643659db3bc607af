#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Checks the documentation of modules, filters and roles (their argument specs too), and the guides' references.
set -euo pipefail
cd "$(dirname "$0")/../build/collections/ansible_collections/l4lb/ipvs"
exec antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --check-extra-docs-refs \
    --validate-collection-refs self .
