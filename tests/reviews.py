"""A review with something in every section, for tests of pages and mails."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from horizoncast.report.review import model as m

START = date(2026, 10, 26)
MEMBERS = ("arima_garch", "random_forest", "random_walk", "var")


def day(offset: int) -> str:
    return str(START + timedelta(days=offset))


def figure(value: float | None = 0.8, error: float | None = 0.04, *, n_eff: float = 24.0) -> m.Figure:
    return m.Figure(value=value, error=error, windows=52, n_eff=n_eff, can_be_told=n_eff >= 20)


def path(
    as_of: int, steps: int, sample: m.Sample = m.Sample.LIVE, *, matured: bool = False
) -> m.ForecastPath:
    points = tuple(
        m.Point(
            step=h,
            date=day(as_of + h),
            point=18.0 + 0.01 * h,
            lower_80=18.0 - 0.1 * h**0.5,
            upper_80=18.0 + 0.12 * h**0.5,
            lower_95=18.0 - 0.2 * h**0.5,
            upper_95=18.0 + 0.2 * h**0.5,
            actual=18.05 if matured else None,
            covered_80=True if matured else None,
            covered_95=True if matured else None,
        )
        for h in sorted({1, 2, 3, 5, 7, steps})
    )
    return m.ForecastPath(
        run_id=f"run-{as_of}",
        as_of=day(as_of),
        cutoff=day(as_of),
        last_date=points[-1].date,
        status="published",
        reasons=(),
        flags=(),
        sample=sample,
        points=points,
    )


def score(
    subject: str, verdict: str = "better", sample: m.Sample = m.Sample.LIVE, reference: str = "best_naive"
) -> m.ScoreLine:
    pit = tuple(
        m.PitBin(low=k / 10, high=(k + 1) / 10, share=0.1 + 0.01 * (k % 3), error=0.03) for k in range(10)
    )
    return m.ScoreLine(
        subject=subject,
        reference=reference,
        sample=sample,
        state="" if subject == "ensemble" else "on",
        weight=None if subject == "ensemble" else 0.3,
        leads=(1, 2, 3),
        skill=figure(0.031, 0.012),
        verdict=verdict,
        p_value=0.02,
        windows=52,
        n_eff=24.0,
        bias=figure(-0.011, 0.02),
        coverage_80=figure(0.79, 0.03),
        coverage_95=figure(0.94, 0.02),
        pit=pit,
        recent=0.97,
        earlier=1.01,
    )


def service(
    name: str = "forecaster_7d", series: str = "usdmxn", unit: str = "MXN per USD", member: str = "var"
) -> m.ServiceReview:
    steps = int("".join(c for c in name if c.isdigit()) or 7) or 7
    rng = np.random.default_rng(1)
    names = (*MEMBERS[:3], member)
    decisions = tuple(
        m.DecisionPoint(
            run_id=f"r{k}",
            as_of=day(7 * (k - 50)),
            status="published",
            best_naive="random_walk",
            kappa=float(0.1 + 0.1 * np.sin(k / 5)),
            width=1.05,
            adaptive=1.0,
            windows=40,
            n_eff=20.0,
            members=tuple(
                m.MemberShare(
                    member=n,
                    state="shadow" if n == names[-1] else "on",
                    weight=w,
                    would_be_weight=0.2,
                    slope=w / 10,
                )
                for n, w in zip(names, (0.3 + 0.002 * k, 0.4 - 0.002 * k, 0.0, 0.3), strict=True)
            ),
        )
        for k in range(50)
    )
    changes = tuple(
        m.LeadChange(
            step=h,
            date=day(h),
            previous_step=h + 2,
            measure=measure,
            before=18.0 if measure is m.Measure.MEDIAN else 0.4,
            after=18.21 if measure is m.Measure.MEDIAN else 0.45,
            parts=tuple(
                (part, value / (1 if measure is m.Measure.MEDIAN else 4.2))
                for part, value in zip(m.Part, (0.2, -0.02, 0.01, 0.0, 0.02), strict=True)
            ),
        )
        for h in (1, steps)
        for measure in m.Measure
    )
    uncertainty = tuple(
        m.UncertaintyPart(step=h, date=day(h), part=part, sd=0.1, share=share)
        for h in sorted({1, 2, 3, steps})
        for part, share in (("within", 0.9 - 0.02 * h / steps), ("between", 0.1 + 0.02 * h / steps))
    )
    costs = tuple(
        m.CostPoint(
            as_of=day(7 * (k - 50)),
            run_id=f"r{k}",
            member=n,
            seconds=float(rng.gamma(4, 0.3)),
            cpu_s=1.0,
            peak_mb=180.0 + k,
        )
        for k in range(50)
        for n in names
    )
    criteria = (
        m.CriterionLine(
            criterion="skill",
            answer="cannot_be_told",
            value=0.01,
            error=0.02,
            low=0.0,
            high=None,
            behind=12.3,
            needed=20,
        ),
        m.CriterionLine(
            criterion="coverage_80",
            answer="met",
            value=0.8,
            error=0.03,
            low=0.72,
            high=0.88,
            behind=24,
            needed=20,
        ),
        m.CriterionLine(
            criterion="peak_mb",
            answer="not_met",
            value=3200,
            error=None,
            low=None,
            high=3000,
            behind=None,
            needed=None,
        ),
    )
    return m.ServiceReview(
        service=name,
        series=series,
        unit=unit,
        scale="log",
        horizon=steps,
        runs=3,
        latest=path(0, steps),
        matured=(
            path(-steps - 3, steps, matured=True),
            path(-steps, steps, m.Sample.HINDSIGHT, matured=True),
        ),
        actuals=tuple(
            m.Actual(date=day(k), value=18.0 + 0.02 * float(np.sin(k))) for k in range(-steps - 3, 1)
        ),
        scores=(
            score("ensemble"),
            score("ensemble", "cannot_be_told", m.Sample.BACKTEST, "random_walk"),
            score(member, "no_different"),
            score("arima_garch", "worse"),
        ),
        decisions=decisions,
        uncertainty=uncertainty,
        rollout=(
            m.RolloutLine(
                member=member,
                state="shadow",
                source="settings",
                answer="cannot_be_told",
                criteria=criteria,
                promote=f"horizoncast rollout promote {name} var --why TEXT --by NAME",
                rollback=f"horizoncast rollout rollback {name} var --why TEXT --by NAME",
            ),
        ),
        change=m.Change(
            run_id="r1", as_of=day(0), previous_run_id="r0", previous_as_of=day(-2), leads=changes
        ),
        data=(
            m.EventLine(
                at=day(0), run_id="r1", code="stale", severity="warning", message=f"{series} is late"
            ),
        ),
        drift=(
            m.EventLine(
                at=day(0), run_id="r1", code="drift", severity="warning", message="changes are wider"
            ),
        ),
        troubles=(
            m.TroubleLine(
                run_id="r1",
                as_of=day(0),
                subject=member,
                kind=m.Trouble.FAILURE,
                code="OutOfMemory",
                reason=f"{member} was killed",
            ),
            m.TroubleLine(
                run_id="r0",
                as_of=day(-2),
                subject="ensemble",
                kind=m.Trouble.FLAG,
                code="few_windows",
                reason="",
            ),
        ),
        events=(),
        costs=costs,
    )


def review(*services: m.ServiceReview, health: str = "fresh") -> m.Review:
    """A review of these services, one by default; the last one's status is `health`."""
    shown = services or (service(),)
    lines = [
        m.StatusLine(
            service=s.service,
            series=s.series,
            health="fresh",
            as_of=day(0),
            expected=day(0),
            due="Mon 2026-10-26 07:00",
        )
        for s in shown[:-1]
    ]
    lines.append(
        m.StatusLine(
            service=shown[-1].service, series=shown[-1].series, health=health, as_of=day(-2), expected=day(0),
            due="Mon 2026-10-26 07:00",
            reason="" if health == "fresh" else "the last due moment has no forecast",
        )
    )  # fmt: skip
    return m.Review(
        made="2026-10-26T12:00:00.000Z",
        since=day(-6),
        until=day(0),
        weeks=1,
        source="ledger",
        status=tuple(lines),
        services=tuple(shown),
        problems=("metrics.jsonl, line 7: torn",),
    )
