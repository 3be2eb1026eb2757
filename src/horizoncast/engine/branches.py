"""The hybrid's branches as a run would have them: their settings and digests."""

from __future__ import annotations

from dataclasses import replace

from horizoncast.engine.settings import EngineConfig
from horizoncast.ensemble.records import BRANCHES
from horizoncast.models.base import MemberConfig
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.registry import make_config, member_class


def branch_config(config: EngineConfig, name: str, model: str = "") -> MemberConfig:
    """Settings of a member, Chronos with another checkpoint where one is named."""
    setting = next(m for m in config.members if m.name == name)
    own = make_config(name) if setting.config is None else setting.config
    return replace(own, model=model) if model and isinstance(own, ChronosConfig) else own


def branch_digests(config: EngineConfig, service: str, model: str = "") -> dict[str, str]:
    """Digest of each branch as a run would have it, by name.

    Parameters
    ----------
    model
        Checkpoint of the Chronos branch; empty takes the setting's.

    Raises
    ------
    NotInstalledError, StoreError, UnknownNameError
        When a branch cannot run here.
    """
    return {
        name: member_class(name)(branch_config(config, name, model), service=service).digest()
        for name in BRANCHES
    }
