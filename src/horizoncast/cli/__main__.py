"""``python -m horizoncast.cli``."""

from horizoncast.cli import main

main()
