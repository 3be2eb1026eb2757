"""Ridge vector autoregression of changes, without a constant.

``x_t = A_1 x_{t-1} + ... + A_p x_{t-p} + u_t`` for the standardised changes of the target and its
covariates. The forecast is the iterated, cumulated change of the target; its interval comes from the
variance of that cumulated change (Luetkepohl 2005, 2.2.3 applied to partial sums), scaled to the
current volatility.

Letters in shapes: n sessions, P covariates, k = 1 + used covariates, p lags, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HistoryTooShortError, MissingCovariateError
from horizoncast.forecast import Flag
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, MemberConfig, Prediction
from horizoncast.models.garch import FLOOR
from horizoncast.models.naive import ewma_volatility
from horizoncast.models.seasonal import decompose, real_periods, width_factor
from horizoncast.series import History, carry_forward

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class VarConfig(MemberConfig):
    """Settings of `Var`.

    Parameters
    ----------
    max_lag
        Largest lag order p; the smallest BIC of the target's equation decides.
    ridge
        Penalty relative to the variance of the regressors.
    coverage
        Least share of usable values in the training window; covariates below are left out.
    max_stale
        A value that its transformation cannot use repeats the last one for at most this many sessions.
    clip
        Standardised changes of covariates are limited to this many standard deviations.
    decay, persistence
        EWMA of the squared residuals, and the rate per session at which the forecast variance returns
        to its mean in the window.
    """

    min_train: int = 40
    max_lag: int = 5
    ridge: float = 0.1
    coverage: float = 0.8
    max_stale: int = 5
    clip: float = 6.0
    decay: float = 0.97
    persistence: float = 0.995


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """How one covariate enters: its column, log or plain changes, and their standard deviation."""

    column: int
    log: bool
    unit: float


@dataclass(frozen=True, kw_only=True, eq=False)
class VarState:
    """What a re-fit point leaves behind.

    Parameters
    ----------
    periods
        Seasons taken out of the target by STL.
    unit
        Standard deviation of the target's changes; 0 for a constant window.
    inputs
        k - 1 covariates in use.
    lags
        (p, k, k) coefficient matrices A_1..A_p.
    sigma
        (k, k) covariance of the residuals.
    tail
        Degrees of freedom of one step's residual.
    """

    periods: tuple[int, ...]
    unit: float
    inputs: tuple[Input, ...]
    lags: Floats
    sigma: Floats
    tail: float
    flags: tuple[Flag, ...]


class Var(Member[VarConfig, VarState]):
    """Ridge VAR on changes; an AR without covariates."""

    name: ClassVar[str] = "var"
    config_type: ClassVar[type[MemberConfig]] = VarConfig

    def fit(self, history: History, horizon: Horizon) -> VarState:
        """Choose season, covariates and lag order, then solve the ridge regression."""
        z = history.z
        periods = real_periods(z, history.periods)
        changes = np.diff(decompose(z, periods).adjusted)
        unit = float(np.std(changes))
        if not unit > 1e-12 * max(1e-300, float(np.max(np.abs(z)))):
            return _constant_state()
        inputs = choose_inputs(history.covariates, self.config.coverage)
        x, _ = self._changes(history, changes / unit, inputs)
        lags, residuals = self._best_order(x, len(inputs))
        return VarState(
            periods=periods,
            unit=unit,
            inputs=inputs,
            lags=stabilised(lags),
            sigma=residuals.T @ residuals / len(residuals),
            tail=tail_weight(residuals[:, 0], self.config.decay),
            flags=_input_flags(len(inputs), len(history.names)),
        )

    def predict(
        self,
        state: VarState,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles of the last value plus the cumulated change."""
        history = history.tail(self.config.window)
        z, steps = history.z, horizon.steps
        if state.unit == 0:
            return Prediction(quantiles=np.full((steps, len(levels)), z[-1]), flags=state.flags)
        parts = decompose(z, state.periods)
        x, stale = self._changes(history, np.diff(parts.adjusted) / state.unit, state.inputs)
        p = len(state.lags)
        recent = x[len(x) - p :]
        if not np.isfinite(recent).all():
            missing = [
                history.names[i.column] for i, bad in zip(state.inputs, _gaps(recent), strict=True) if bad
            ]
            raise MissingCovariateError(
                "a covariate is missing for longer than it may be carried forward",
                value=", ".join(missing),
                allowed=f"{p} usable sessions before the cutoff",
                action="update its source, raise max_carry, or drop it",
            )
        mean, variance = cumulated_forecast(state.lags, state.sigma, recent, steps)
        now = self._current_variance(x, state)
        spread = np.sqrt(variance * term_structure(now, self.config.persistence, steps))
        centre = parts.adjusted[-1] + state.unit * mean + parts.ahead(steps)
        width = state.unit * width_factor(parts.periods, len(z)) * spread
        quantiles = centre[:, None] + width[:, None] * student_quantiles(state.tail, levels, steps)
        return Prediction(
            quantiles=quantiles, flags=(*state.flags, Flag.STALE_INPUT) if stale else state.flags
        )

    def _changes(self, history: History, target: Floats, inputs: Sequence[Input]) -> tuple[Floats, bool]:
        """(n - 1, k) standardised changes, NaN where unusable, and whether a recent one was repeated."""
        columns, stale = [target], False
        for item in inputs:
            raw = history.covariates[:, item.column]
            bad = (raw <= 0) if item.log else np.zeros(len(raw), dtype=np.bool_)
            carried = carry_forward(np.where(bad, np.nan, raw), self.config.max_stale)
            filled = np.where(bad, carried, raw)
            stale |= bool(bad[-self.config.max_lag - 1 :].any())
            change = np.diff(np.log(filled) if item.log else filled) / item.unit
            columns.append(np.clip(change, -self.config.clip, self.config.clip))
        return np.stack(columns, axis=1), stale

    def _best_order(self, x: Floats, covariates: int) -> tuple[Floats, Floats]:
        """Coefficients (p, k, k) and residuals (n, k) of the order with the smallest BIC."""
        most = self.config.max_lag
        response, regressors = lagged(x, most)
        keep = np.isfinite(regressors).all(axis=1) & np.isfinite(response).all(axis=1)
        response, regressors = response[keep], regressors[keep]
        n, k = response.shape
        if n < max(20, 2 * k):
            raise HistoryTooShortError(
                "too few complete sessions to fit a VAR", value=n, allowed="at least 20"
            )
        best: tuple[float, int, Floats, Floats] | None = None
        for p in range(1 if covariates else 0, most + 1):
            if k * p > n // 3:
                break
            beta = ridge(regressors[:, : k * p], response, self.config.ridge)
            residuals = response - regressors[:, : k * p] @ beta
            score = n * np.log(max(float(np.mean(residuals[:, 0] ** 2)), 1e-12)) + k * p * np.log(n)
            if best is None or score < best[0]:
                best = score, p, beta, residuals
        assert best is not None, "order 0 or 1 always fits"
        _, p, beta, residuals = best
        return np.swapaxes(beta.reshape(p, k, k), 1, 2), residuals

    def _current_variance(self, x: Floats, state: VarState) -> float:
        """EWMA variance of the target's residuals up to the cutoff, relative to the window's."""
        p, k = len(state.lags), x.shape[1]
        response, regressors = lagged(x, p)
        beta = np.swapaxes(state.lags, 1, 2).reshape(p * k, k)
        errors = (response - regressors @ beta)[:, 0]
        errors = errors[np.isfinite(errors)]
        now = float(ewma_volatility(errors, self.config.decay)[-1] ** 2)
        return max(now / float(state.sigma[0, 0]), FLOOR)


def choose_inputs(covariates: Floats, coverage: float) -> tuple[Input, ...]:
    """Covariates (n, P) that are known often enough and move; log changes where all are positive."""
    found = []
    for column, values in enumerate(covariates.T):
        known = np.isfinite(values)
        if known.mean() < coverage:
            continue
        log = bool((values[known] > 0).all())
        change = np.diff(np.log(values) if log else values)
        unit = float(np.nanstd(change))
        if unit > 1e-12 * (1.0 if log else max(1e-300, float(np.nanmax(np.abs(values))))):
            found.append(Input(column=column, log=log, unit=unit))
    return tuple(found)


def lagged(x: Floats, p: int) -> tuple[Floats, Floats]:
    """Response (n - p, k) and regressors (n - p, k p), lag 1 first, of rows (n, k)."""
    n, k = x.shape
    parts = [x[p - lag : n - lag] for lag in range(1, p + 1)]
    return x[p:], np.concatenate(parts, axis=1) if parts else np.empty((n, 0 * k))


def ridge(regressors: Floats, response: Floats, penalty: float) -> Floats:
    """``(X'X + lambda I)^-1 X'Y`` with lambda = penalty x mean diagonal of X'X (Hoerl & Kennard 1970)."""
    size = regressors.shape[1]
    if size == 0:
        return np.empty((0, response.shape[1]))
    gram = regressors.T @ regressors
    scale = penalty * float(np.trace(gram)) / size
    return np.asarray(np.linalg.solve(gram + scale * np.eye(size), regressors.T @ response))


def companion(lags: Floats) -> Floats:
    """(k p, k p) companion matrix of (p, k, k) coefficients (Luetkepohl 2005, eq. 2.1.8)."""
    p, k, _ = lags.shape
    out = np.eye(k * p, k=-k)
    out[:k] = np.concatenate(list(lags), axis=1)
    return out


def stabilised(lags: Floats, radius: float = 0.98) -> Floats:
    """The same coefficients with every root at most `radius`: ``A_j`` times ``c^j``."""
    if not len(lags):
        return lags
    largest = float(np.max(np.abs(np.linalg.eigvals(companion(lags)))))
    shrink = min(1.0, radius / largest) if largest > 0 else 1.0
    return np.asarray(lags * shrink ** np.arange(1, len(lags) + 1)[:, None, None])


def cumulated_forecast(lags: Floats, sigma: Floats, recent: Floats, steps: int) -> tuple[Floats, Floats]:
    """Mean and variance (H,), (H,) of the target's cumulated change.

    With the companion matrix F, ``Psi_j`` is the upper left block of ``F^j``; then
    ``C_i = sum_{j<=i} Psi_j`` and ``V_h = sum_{i<h} C_i Sigma C_i'`` (Luetkepohl 2005, eq. 2.2.11, for
    partial sums).

    Parameters
    ----------
    lags
        (p, k, k) coefficients.
    sigma
        (k, k) covariance of the residuals.
    recent
        (p, k) the last rows, oldest first.
    """
    p, k = len(lags), len(sigma)
    if not p:
        return np.zeros(steps), sigma[0, 0] * np.arange(1.0, steps + 1)
    F = companion(lags)
    rows = np.zeros((steps + 1, k * p))
    rows[0, 0] = 1.0
    for j in range(steps):
        rows[j + 1] = rows[j] @ F
    mean = np.cumsum(rows[1:] @ recent[::-1].ravel())
    C = np.cumsum(rows[:steps, :k], axis=0)
    return mean, np.cumsum(np.einsum("hi,ij,hj->h", C, sigma, C))


def term_structure(now: float, persistence: float, steps: int) -> Floats:
    """(H,) mean variance over the next h steps when it returns to 1 from `now` at a constant rate.

    ``1 + (now - 1) (1 - r^h) / (h (1 - r))``, the cumulated GARCH forecast (Baillie & Bollerslev 1992).
    """
    h = np.arange(1, steps + 1)
    weight = (1.0 - persistence**h) / (h * (1.0 - persistence)) if persistence < 1 else np.ones(steps)
    return np.asarray(1.0 + (now - 1.0) * weight)


def tail_weight(residuals: Floats, decay: float) -> float:
    """Degrees of freedom ``4 + 6 / kappa`` from the excess kurtosis of the devolatilised residuals."""
    sd = ewma_volatility(residuals, decay)
    e = residuals[1:] / np.maximum(sd[:-1], 1e-9)
    e = e[min(20, len(e) // 2) :]
    kurtosis = float(np.mean((e - e.mean()) ** 4) / np.var(e) ** 2) - 3.0 if np.var(e) > 0 else 0.0
    return 4.0 + 6.0 / max(kurtosis, 0.05)


def student_quantiles(tail: float, levels: Sequence[float], steps: int) -> Floats:
    """(H, Q) quantiles of unit variance; the excess kurtosis of a sum of h steps is 1/h of one step's."""
    from scipy.special import stdtrit

    df = 4.0 + (tail - 4.0) * np.arange(1.0, steps + 1)
    unit = np.sqrt((df - 2.0) / df)
    return np.asarray(unit[:, None] * stdtrit(df[:, None], np.asarray(levels)[None, :]))


def _constant_state() -> VarState:
    """A window without any movement: the last value, no width."""
    return VarState(
        periods=(),
        unit=0.0,
        inputs=(),
        lags=np.empty((0, 1, 1)),
        sigma=np.zeros((1, 1)),
        tail=100.0,
        flags=(Flag.DEGENERATE_WIDTH,),
    )


def _input_flags(used: int, offered: int) -> tuple[Flag, ...]:
    """What a reader must know about the covariates."""
    if not used:
        return (Flag.NO_COVARIATES,)
    return (Flag.STALE_INPUT,) if used < offered else ()


def _gaps(recent: Floats) -> list[bool]:
    """Which covariates miss a value in the last rows (p, k)."""
    return [not bool(np.isfinite(column).all()) for column in recent[:, 1:].T]
