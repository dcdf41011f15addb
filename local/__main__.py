"""Runs local/commands.py: what make runs once the packages are installed."""

from __future__ import annotations

import sys

try:
    from local.commands import main

    main()
except KeyboardInterrupt:  # also while the driver is imported
    sys.exit(130)
