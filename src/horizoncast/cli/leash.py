"""``python -m horizoncast.cli.leash PARENT ARGUMENTS``: the command line, ended when its parent ends."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Watch the parent, then be the command line."""
    from horizoncast.resources import die_with

    parent = int(sys.argv[1])
    if os.getppid() != parent:
        os._exit(1)  # it ended before this process had started
    die_with(parent)
    from horizoncast.cli.app import main as command_line

    command_line(sys.argv[2:])


if __name__ == "__main__":
    main()
