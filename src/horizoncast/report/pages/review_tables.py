"""Tables of the weekly review: outcomes, scorecard, weights, rollout, troubles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from horizoncast.report.pages.rendering import Cell, Head, Table, number
from horizoncast.report.review.model import (
    CriterionLine,
    Figure,
    Sample,
    ScoreLine,
    ServiceReview,
    Trouble,
    TroubleLine,
)
from horizoncast.report.review.rounding import percent, rounded
from horizoncast.report.summary import rounded as by_width
from horizoncast.report.texts import catalogue, text

KINDS = {"better": "good", "worse": "bad", "met": "good", "not_met": "bad"}
BEST_NAIVE = "best_naive"


def words_of(table: str, code: str, language: str) -> str:
    """The text of a code of the record; one that the catalogue does not know is told as it is."""
    key = f"{table}.{code}"
    return text(key, language) if key in catalogue(language) else code


def heads(area: str, names: Sequence[str], language: str, **values: object) -> list[Head]:
    """Heads of a table by key; a leading ``#`` marks numbers, and values fill the texts that take them."""
    found = []
    for name in names:
        key = f"review.{area}.{name.removeprefix('#')}"
        taken = {k: v for k, v in values.items() if f"{{{k}}}" in catalogue(language).get(key, "")}
        words = text(key, language, **taken).replace(" %", "\u00a0%")
        found.append(Head(text=words, kind="number" if name.startswith("#") else ""))
    return found


def outcome_table(service: ServiceReview, language: str) -> Table:
    """The last step of every forecast that matured, newest first."""
    names = ("as_of", "ends", "#point", "#interval", "#actual_head", "inside", "sample")
    rows = []
    for path in reversed(service.matured):
        last = path.points[-1]
        width = float("nan")
        between = ""
        if last.lower_80 is not None and last.upper_80 is not None:
            width = last.upper_80 - last.lower_80
            ends = (by_width(last.lower_80, width), by_width(last.upper_80, width))
            between = text("common.to", language, low=ends[0], high=ends[1])
        inside, kind = text("common.unknown", language), "quiet"
        if last.covered_80 is not None:
            inside = text("review.fan.yes" if last.covered_80 else "review.fan.no", language)
            kind = "good" if last.covered_80 else "bad"
        actual = "" if last.actual is None else by_width(last.actual, width, extra=1)
        rows.append(
            [
                Cell(text=path.as_of, kind="day"),
                Cell(text=last.date, kind="day"),
                number(by_width(last.point, width, extra=1)),
                number(between),
                number(actual),
                Cell(text=inside, kind=kind),
                Cell(text=text(f"review.sample.{path.sample}", language)),
            ]
        )
    label = text("review.fan.table", language, service=service.service)
    return Table(label=label, head=heads("fan", names, language), rows=rows)


def score_table(service: ServiceReview, language: str) -> Table:
    """Every subject against the naive; the ensemble first, samples apart."""
    several = len({line.reference for line in service.scores}) > 1
    names = ("subject", "sample", "verdict", "#skill", "#windows", "#bias", "#c80", "#c95", "#recent")
    return Table(
        label=text("review.scores.label", language, service=service.service),
        head=heads("scores", names, language, unit=service.unit),
        rows=[_score(line, language, several=several) for line in service.scores],
        empty=text("review.scores.empty", language),
        stacked=True,
    )


def _score(line: ScoreLine, language: str, *, several: bool) -> list[Cell]:
    who = text("review.scores.ensemble", language) if line.subject == "ensemble" else line.subject
    sample = text(f"review.sample.{line.sample}", language)
    if several and line.reference != BEST_NAIVE:
        sample += ", " + text("review.scores.reference", language, reference=line.reference)
    replayed = line.sample is Sample.BACKTEST  # the replays' bias is on no record: nothing to wait for
    ratio = ""
    if line.recent is not None and line.earlier is not None:
        ratio = "; ".join(_better(loss) for loss in (line.recent, line.earlier))
    return [
        Cell(text=who),
        Cell(text=sample, kind="" if several else "day"),
        Cell(
            text=words_of("common.verdict", line.verdict, language),
            kind=f"day {KINDS.get(line.verdict, '')}".strip(),
        ),
        number(share_text(line.skill, language, signed=True)),
        number(f"{line.n_eff:.1f}"),
        number("" if replayed else value_text(line.bias, language)),
        number(share_text(line.coverage_80, language)),
        number(share_text(line.coverage_95, language)),
        number(ratio),
    ]


def _better(ratio: float) -> str:
    """Loss over the naive's as in the column of all forecasts: how much less it is."""
    words = f"{100 * (1 - ratio):+.0f}"
    return f"{words.lstrip('+-') if float(words) == 0 else words}\u00a0%"


def share_text(figure: Figure, language: str, *, signed: bool = False) -> str:
    """A share in per cent with its error, as in ``81 \u00b1 4 %``."""
    if figure.value is None:
        return text("common.not_yet_known", language)
    words = percent(figure.value, figure.error)
    if signed and not words.startswith("-") and float(words) != 0:
        words = f"+{words}"
    if figure.error is not None and figure.error > 0:
        words += f" \u00b1 {percent(figure.error, figure.error)}"
    return f"{words}\u00a0%"


def value_text(figure: Figure, language: str) -> str:
    """A value in the unit with its error."""
    if figure.value is None:
        return text("common.not_yet_known", language)
    words = rounded(figure.value, figure.error)
    return words if not figure.error else f"{words} \u00b1 {rounded(figure.error, figure.error)}"


def weight_table(service: ServiceReview, language: str) -> Table:
    """Weights of the newest decision, heaviest first."""
    rows = []
    if service.decisions:
        shares = sorted(service.decisions[-1].members, key=lambda s: (-s.weight, s.member))
        for share in shares:
            shadow = share.state == "shadow"
            rows.append(
                [
                    Cell(text=share.member),
                    number(f"{100 * share.weight:.0f}\u00a0%", share=share.weight),
                    number(f"{100 * share.would_be_weight:.0f}\u00a0%" if shadow else ""),
                    number(f"{share.slope:.2f}"),
                ]
            )
    label = text("review.weights.table", language, service=service.service)
    return Table(
        label=label, head=heads("weights", ("member", "#weight", "#would_be", "#slope"), language), rows=rows
    )


def rollout_table(service: ServiceReview, language: str) -> Table:
    """Members with a state: the answer of all criteria, and the commands that take them a step up or down."""
    rows = []
    for line in service.rollout:
        met = sum(c.answer == "met" for c in line.criteria)
        answer = text(f"review.rollout.answers_{line.answer}", language)
        counts = text("common.of", language, n=met, total=len(line.criteria))
        rows.append(
            [
                Cell(text=line.member),
                Cell(text=words_of("common.state", line.state, language)),
                Cell(text=f"{answer} ({counts})", kind=KINDS.get(line.answer, "")),
                Cell(
                    text="\n".join(c for c in (line.promote, line.rollback) if c), code=True, kind="command"
                ),
            ]
        )
    return Table(
        label=text("review.rollout.label", language, service=service.service),
        head=heads("rollout", ("member", "state", "answer", "command"), language),
        rows=rows,
        empty=text("review.rollout.empty", language),
        stacked=True,
    )


def criteria_table(service: ServiceReview, language: str) -> Table:
    """Every criterion of every member."""
    rows = []
    for line in service.rollout:
        for criterion in line.criteria:
            name = words_of("review.criterion", criterion.criterion, language)
            rows.append(
                [
                    Cell(text=line.member),
                    Cell(text=name),
                    Cell(
                        text=words_of("review.answer", criterion.answer, language),
                        kind=KINDS.get(criterion.answer, "quiet"),
                    ),
                    number(_measured(criterion, language)),
                    number(_bound(criterion, language)),
                    number(_behind(criterion, language)),
                ]
            )
    names = ("member", "criterion", "answer", "#value", "#bound", "#behind")
    label = text("review.rollout.details", language, service=service.service)
    return Table(label=label, head=heads("rollout", names, language), rows=rows, stacked=True)


def _measured(line: CriterionLine, language: str) -> str:
    if line.value is None:
        return text("common.not_yet_known", language)
    words = rounded(line.value, line.error)
    return words if not line.error else f"{words} \u00b1 {rounded(line.error, line.error)}"


def _bound(line: CriterionLine, language: str) -> str:
    low, high = (None if end is None else f"{end:g}" for end in (line.low, line.high))
    if low is not None and high is not None:
        return text("review.rollout.between", language, low=low, high=high)
    if low is not None:
        return text("review.rollout.at_least", language, low=low)
    return "" if high is None else text("review.rollout.at_most", language, high=high)


def _behind(line: CriterionLine, language: str) -> str:
    if line.behind is None:
        return ""
    if line.needed is None:
        return f"{line.behind:g}"
    return text("common.of", language, n=f"{line.behind:.3g}", total=f"{line.needed:g}")


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A trouble that came once or many times, with its newest occurrence."""

    last: TroubleLine
    times: int


def repeated(troubles: Sequence[TroubleLine]) -> list[Repeated]:
    """Troubles by who, what and code; the worst kind first, then the most frequent."""
    groups: dict[tuple[str, str, str], list[TroubleLine]] = {}
    for line in troubles:
        groups.setdefault((line.subject, line.kind, line.code), []).append(line)
    order = list(Trouble)
    found = [Repeated(last=max(g, key=lambda line: line.as_of), times=len(g)) for g in groups.values()]
    return sorted(found, key=lambda r: (order.index(r.last.kind), -r.times, r.last.subject))


def trouble_table(service: ServiceReview, language: str) -> Table:
    """Failures, skipped members, fallbacks and flags, each kind once."""
    rows = [
        [
            Cell(text=r.last.subject),
            Cell(
                text=text(f"review.troubles.{r.last.kind}", language),
                kind="bad" if r.last.kind is Trouble.FAILURE else "",
            ),
            Cell(text=r.last.code, code=True),
            number(str(r.times)),
            Cell(text=r.last.as_of, kind="day"),
            Cell(text=r.last.reason, kind="wide"),
        ]
        for r in repeated(service.troubles)
    ]
    names = ("subject", "kind", "code", "#times", "last", "reason")
    label = text("review.troubles.label", language, service=service.service)
    return Table(label=label, head=heads("troubles", names, language), rows=rows, stacked=True)
