"""The command line: ``horizoncast --help``.

Nothing heavy is imported here; each command imports what it needs when it runs.
"""

from horizoncast.cli.app import app, main

__all__ = ["app", "main"]
