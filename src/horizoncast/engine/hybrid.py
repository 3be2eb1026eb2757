"""The hybrid in a run: what its fusion needs to know of every cutoff.

Letters in shapes: C cutoffs, the live one last, H steps, Q levels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank, Embeddings
from horizoncast.calendar import Dates
from horizoncast.engine.result import MemberOutcome
from horizoncast.engine.settings import EngineConfig, HybridSetting
from horizoncast.ensemble.hybrid import Fusion, FusionInputs, Joined
from horizoncast.ensemble.records import BRANCHES, HYBRID, SIGNALS
from horizoncast.errors import HistoryTooShortError, ModelError, StoreError
from horizoncast.forecast import Failure, Forecast, ModelIdentity
from horizoncast.models.hybrid.artefact import FILE, HybridParts, read_parts
from horizoncast.models.hybrid.context import Context, context_of
from horizoncast.models.hybrid.features import feature_names, feature_rows
from horizoncast.models.hybrid.gate import prior_log_odds
from horizoncast.policy.states import MemberState
from horizoncast.series import Series
from horizoncast.store.names import safe_name

Floats = npt.NDArray[np.float64]

SEASONS, FEWEST = 10, 600
"""Newest sessions that the context is read from: so many seasons, at least so many sessions."""

UNUSED = "the hybrid runs without what it learned"

NEUTRAL = Context(season=0.0, trend=0.0, volatility=0.5, entropy=1.0)
"""Context of a history too short to have one."""


def fusion_of(
    series: Series,
    bank: Bank,
    live: Bank,
    config: EngineConfig,
    answers: Mapping[str, Forecast | Failure],
    *,
    running: Mapping[str, str] | None = None,
) -> tuple[Fusion | None, list[str]]:
    """The hybrid of a run, None where it is off, and what is wrong with its learned parts.

    Parameters
    ----------
    bank, live
        Matured cutoffs, and the one to be forecast.
    answers
        What each member answered at the live cutoff.
    running
        Digest of each branch, for decisions on the past alone; None takes them from the answers.
    """
    setting = config.hybrid
    if setting.state is MemberState.OFF:
        return None, []
    cutoffs = np.concatenate([bank.cutoffs, live.cutoffs])
    if running is None:
        running = {n: a.identity.digest for n in BRANCHES if isinstance(a := answers.get(n), Forecast)}
    parts, problems = learned_parts(setting, series.name, config.service, running)
    parts, unfit = _fitting(parts, series, (bank, live))
    problems += unfit
    contexts = [c for part in (bank, live) for c in contexts_of(series, part.cutoffs, part.embeddings)]
    steps = bank.horizon.steps
    inputs = FusionInputs(
        cutoffs=cutoffs,
        log_odds=_log_odds(parts, cutoffs, contexts, steps, setting.config.prior),
        adapted=_adapted(parts, series, bank, live),
        regime=_regime(contexts[-1]),
        epistemic=np.stack([_epistemic(answers.get(name), steps) for name in BRANCHES]),
        trained={} if parts is None or parts.neutral else _trained(parts),
    )
    return Fusion(state=setting.state, config=setting.config, inputs=inputs), problems


def joined_by(fusion: Fusion | None, past: Bank, live: Bank, states: Mapping[str, MemberState]) -> Joined:
    """A slice and its live row, with the hybrid where there is one."""
    if fusion is None:
        return Joined(past=past, live=live, states=states)
    return fusion.joined(past, live, states)


def hybrid_outcome(series: Series, joined: Joined, config: EngineConfig) -> MemberOutcome | None:
    """What became of the hybrid, its weight left open; None where it is off."""
    if joined.record is None:
        return None
    failure = Failure(member=HYBRID, cutoff=series.last, code="NotFused", reason=joined.record.reason)
    return MemberOutcome(
        name=HYBRID,
        state=joined.states.get(HYBRID, config.hybrid.state),
        live=_live_forecast(series, joined, config) if joined.made else failure,
        weight=0.0,
        asked=1,
        answered=int(joined.made),
        cached=0,
        usage=None,
        problems=(),
    )


def _live_forecast(series: Series, joined: Joined, config: EngineConfig) -> Forecast:
    """The hybrid's rows at the live cutoff, in the unit, by the name of what made them."""
    assert joined.record is not None
    record, live = joined.record, joined.live
    digest = hashlib.sha256(repr((config.hybrid.config, sorted(record.trained.items()))).encode())
    quantiles = series.scale.backward(live.quantiles[live.member_index(HYBRID), 0])
    return Forecast(
        series=series.name,
        unit=series.unit,
        member=HYBRID,
        cutoff=series.last,
        dates=series.session_dates(series.last, live.horizon.steps),
        levels=live.levels,
        quantiles=np.maximum(quantiles, 0.0) if series.nonnegative else quantiles,
        identity=ModelIdentity(id=HYBRID, revision="1", digest=digest.hexdigest()[:16]),
        epistemic=np.nan_to_num(record.uncertainty.shares[0]),
    )


def learned_parts(
    setting: HybridSetting, series: str, service: str, running: Mapping[str, str]
) -> tuple[HybridParts | None, list[str]]:
    """Parts that ``hybrid train`` left for a series and service, and why they are not used where not.

    Parameters
    ----------
    running
        Digest of each branch that answers now. What was learned beside other branches stays unused.
    """
    folder = Path(setting.config.parts) / safe_name(series) / safe_name(service)
    if not setting.config.parts or not (folder / FILE).exists():
        return None, []
    try:
        parts = read_parts(folder)
    except StoreError as error:
        return None, [f"{UNUSED}: {error}"]
    if (parts.series, parts.service) != (series, service):
        return None, [f"{UNUSED}: it was learned for {parts.series} {parts.service}"]
    others = parts.differing(running)
    if others and not parts.neutral:
        return None, [f"{UNUSED}: {words_of_differing(parts, others)}"]
    return parts, []


def _fitting(
    parts: HybridParts | None, series: Series, banks: Sequence[Bank]
) -> tuple[HybridParts | None, list[str]]:
    """The parts, without those that read what is no longer there.

    That is an adaptation to features which the series has lost, and a gate that knows vectors of another
    encoder; a branch that does not answer now cannot tell by its digest that it is another.
    """
    problems = []
    if parts is not None and parts.adaptation is not None:
        try:
            parts.adaptation.require(feature_names(series, season_of(series.periods, len(series))))
        except ModelError as error:
            parts, problems = replace(parts, adaptation=None), [f"{UNUSED}: {error}"]
    if parts is not None and parts.gate is not None:
        try:
            for bank in banks:
                parts.gate.require(0 if bank.embeddings is None else bank.embeddings.size)
        except ModelError as error:
            parts, problems = replace(parts, gate=None), [*problems, f"{UNUSED}: {error}"]
    return parts, problems


def words_of_differing(parts: HybridParts, others: Sequence[str]) -> str:
    """Why parts learned beside other branches are not used, and what to do."""
    text = f"{' and '.join(others)} changed since (another checkpoint, setting or release)"
    use = f"set members.chronos.model={parts.model}, or " if parts.model and BRANCHES[0] in others else ""
    return f"{text}; {use}run `horizoncast hybrid train` again"


def contexts_of(series: Series, cutoffs: Dates, embeddings: Embeddings | None = None) -> list[Context]:
    """Signals at each cutoff, from its own past; neutral where that is too short.

    Parameters
    ----------
    embeddings
        What Chronos' encoder saw at each of them; None where it ran at none.
    """
    found = []
    for w, cutoff in enumerate(cutoffs):
        past = series.until(cutoff)
        period = season_of(past.periods, len(past))
        try:
            context = context_of(past.tail(max(FEWEST, SEASONS * (period or 1))).z, period)
        except HistoryTooShortError:
            context = NEUTRAL
        seen = None if embeddings is None else embeddings.at(w)
        if seen is not None:
            context = replace(context, novelty=seen.novelty, embedding=tuple(seen.vector.tolist()))
        found.append(context)
    return found


def _regime(context: Context) -> dict[str, float]:
    """The signals of a context that are known, by name."""
    known = ((name, getattr(context, name)) for name in SIGNALS)
    return {name: float(value) for name, value in known if value is not None}


def season_of(periods: Sequence[int], rows: int) -> int | None:
    """The longest season that a history holds more than twice; None where it holds none."""
    return max((p for p in periods if 2 * p < rows), default=None)


def _log_odds(
    parts: HybridParts | None, cutoffs: Dates, contexts: Sequence[Context], steps: int, prior: float
) -> Floats:
    """(C, H) in favour of chronos: of the gate where it may answer, else of the known rule."""
    leads = np.arange(1, steps + 1)
    rows = [
        np.full(steps, prior_log_odds(context, strength=prior))
        if parts is None
        else parts.at(cutoff).log_odds(context, leads, strength=prior)
        for cutoff, context in zip(cutoffs, contexts, strict=True)
    ]
    return np.stack(rows)


def _adapted(parts: HybridParts | None, series: Series, bank: Bank, live: Bank) -> Floats | None:
    """(C, H, Q) rows of chronos after the domain adaptation, as they were before ``trained_until``."""
    if parts is None or parts.adaptation is None or BRANCHES[0] not in bank.members:
        return None
    rows = np.concatenate([b.quantiles[b.member_index(BRANCHES[0])] for b in (bank, live)])
    cutoffs = np.concatenate([bank.cutoffs, live.cutoffs])
    late = cutoffs >= parts.trained_until
    period = season_of(series.periods, len(series))
    if late.any():
        features = feature_rows(series, cutoffs[late], period, bank.horizon.steps)
        rows[late] = parts.adaptation.apply(rows[late], features, bank.levels)
    return rows


def _epistemic(answer: Forecast | Failure | None, steps: int) -> Floats:
    """(H,) share of a forecast's variance that is doubt about the model; 0 where it does not say."""
    share = answer.epistemic if isinstance(answer, Forecast) else None
    return np.zeros(steps) if share is None else np.asarray(share)


def _trained(parts: HybridParts) -> dict[str, str]:
    found = {"trained_until": str(parts.trained_until), "digest": parts.digest}
    for name in ("gate", "adaptation"):
        part = getattr(parts, name)
        found |= {} if part is None else {name: part.digest}
    return found | ({"joint": parts.model} if any(parts.omega) else {})
