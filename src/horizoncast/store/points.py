"""Named points of a publication, in the order a run passes them.

`reach` tells whoever listens that a run is there: tests stop the process at each one. Without a
listener it costs a comparison.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = (
    "staging",
    "staged",
    "renamed",
    "synced",
    "committing",
    "committed",
    "logged",
    "pointed",
    "derived",
    "sending",
    "sent",
)
"""Before the first file; all files synced; the folder has its name; the name is durable; rows
inserted, before COMMIT; after it; records appended; latest.json replaced; both marked as done; before
a message; after it."""

listener: Callable[[str], object] | None = None


def reach(point: str) -> None:
    """Say that a run has come to a point."""
    if listener is not None:
        listener(point)
