"""What the fork server imports before any member starts."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, sys
import horizoncast.models.preload
print(gc.get_freeze_count() > 0, *(name in sys.modules for name in ("arch", "sklearn", "holidays.countries")))
"""


def test_the_fork_server_can_import_what_it_is_told_to() -> None:
    """It passes over a preload that fails, in silence, and every child then imports for itself."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 4
