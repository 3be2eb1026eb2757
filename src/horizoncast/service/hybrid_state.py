"""What is learned for a service's hybrid on a series, and whether a run would use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from horizoncast.engine.branches import branch_digests
from horizoncast.engine.hybrid import words_of_differing
from horizoncast.ensemble.hybrid import state_of
from horizoncast.errors import HorizoncastError, StoreError
from horizoncast.models.hybrid.artefact import FILE, HybridParts, read_parts
from horizoncast.policy.states import MemberState
from horizoncast.service.hybrid_subjects import both_on
from horizoncast.service.settings import Settings
from horizoncast.store.names import safe_name


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The hybrid of a service on a series.

    Parameters
    ----------
    service, series
        Whose it is.
    state
        What the hybrid comes to in a run; never more than its parts.
    parts
        None where none are on disk or they cannot be read.
    in_use
        Whether a run would use what was learned.
    why
        Why not; empty where it is in use.
    folder
        Where the parts lie, or would.
    """

    service: str
    series: str
    state: MemberState
    parts: HybridParts | None
    in_use: bool
    why: str
    folder: Path


def learned_by(settings: Settings, series: str) -> Learned:
    """Look at a service's learned parts; nothing is loaded but numbers."""
    config = settings.engine_config()
    state = state_of(config.hybrid.state, {m.name: m.state for m in config.members})
    folder = Path(config.hybrid.config.parts) / safe_name(series) / safe_name(settings.service)
    parts, why = _read(folder)
    if parts is not None:
        why = _unused(settings, parts, state)
    return Learned(
        service=settings.service,
        series=series,
        state=state,
        parts=parts,
        in_use=parts is not None and not why,
        why=why,
        folder=folder,
    )


def _read(folder: Path) -> tuple[HybridParts | None, str]:
    if not (folder / FILE).exists():
        return None, "never trained"
    try:
        return read_parts(folder), ""
    except StoreError as error:
        return None, str(error)


def _unused(settings: Settings, parts: HybridParts, state: MemberState) -> str:
    """Why a run would not use the parts; empty where it would."""
    if parts.neutral:
        return "nothing learned was kept"
    try:
        others = parts.differing(branch_digests(both_on(settings.engine_config()), settings.service))
    except HorizoncastError as error:
        return f"a branch cannot run: {error}"
    if others:
        return words_of_differing(parts, others)
    return "the hybrid is off" if state is MemberState.OFF else ""
