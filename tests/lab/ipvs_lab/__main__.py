# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m ipvs_lab``, from the directory above."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
