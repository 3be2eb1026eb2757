"""`hybrid show`."""

from __future__ import annotations

from collections.abc import Sequence

from horizoncast.cli.hybrid_words import learned_rows, learned_values
from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json


def show(commons: Sequence[Common], services: tuple[str, ...], *, json: bool) -> None:
    """What is learned for each service on each series."""
    from horizoncast.data.target_file import read_target
    from horizoncast.service.hybrid_state import learned_by

    found = []
    for common in commons:
        for name in services or common.places().services():
            settings = common.settings(name)
            found.append(learned_by(settings, read_target(settings.target_path).name))
    if json:
        print_json({"hybrids": [learned_values(one) for one in found]})
        return
    screen = Screen(as_json=False, quiet=False)
    for one in found:
        screen.rows(f"{one.service}, {one.series}", learned_rows(one))
        screen.paths([("folder", str(one.folder))])
