# SPDX-License-Identifier: GPL-3.0-or-later
"""Small QEMU machines on private layer-2 segments, for tests that need a real kernel with IPVS."""
