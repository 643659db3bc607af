# SPDX-License-Identifier: GPL-3.0-or-later
# Every target makes what it needs first; the work is in scripts/.

.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MOLECULE_GLOB := molecule/*/molecule.yml
unexport ANSIBLE_COLLECTIONS_PATH

.PHONY: help setup setup-checks check test soak sanity plant bench bench-quick matrix demo demo-down clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 13

setup: ## Install what is missing: Debian packages, .venv, the link to the collection
	@scripts/setup.sh

setup-checks:
	@scripts/setup.sh --no-machines

check: setup-checks ## The quick part, without machines: linters, types, unit tests
	@scripts/test.py --quick

test: setup ## All but soak: check, sanity, documentation, lab, integration targets, molecule
	@scripts/test.py

soak: setup ## What is not part of `make test`: more scenarios, faults on a real kernel
	@scripts/test.py --soak

sanity: setup-checks ## ansible-test sanity on a clean copy, without an ignore file
	@scripts/sanity.py

plant: setup ## Plant known faults one by one: a named test must catch each
	@scripts/plant.py

bench: setup ## Measure ipvs_table against ipvsadm and hold the ratios to their bars
	@tests/bench/run

bench-quick: setup ## The same in minutes: a small table, and a profile without a kernel
	@tests/bench/run --quick

matrix: setup-checks ## Unit tests on every supported ansible-core and target Python found here
	@nox $(MATRIX)

demo: setup ## Balance real traffic in the lab: boot, configure, verify
	@scripts/demo.sh

demo-down: setup ## Stop the demo's lab
	@scripts/demo.sh down

clean: ## Remove what the targets made
	rm -rf build .venv .nox
