"""`models finetune`."""

from __future__ import annotations

from typing import Any

from horizoncast.calendar import Calendar
from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.models.chronos.finetuning import fine_tune
from horizoncast.models.chronos.train import progress_bar
from horizoncast.models.chronos.tuning_job import FineTuned
from horizoncast.service.finetuning import Asked, Planned, plan_finetuning


def finetune(service: str, common: Common, asked: Asked, *, json: bool, quiet: bool) -> None:
    """Fine-tune, and say what became of it and what to do with it."""
    from horizoncast.data.target_file import read_target
    from horizoncast.service.inputs import read_series

    settings = common.settings(service)
    screen = Screen(as_json=json, quiet=quiet)
    series = read_series(settings, read_target(settings.target_path), as_of=common.as_of).series
    planned = plan_finetuning(settings, series, asked)
    for line in before_lines(planned, series.calendar):
        screen.tell(line)
    if quiet:
        done = fine_tune(planned.job)
    else:
        with progress_bar() as progress:
            done = fine_tune(planned.job, progress)
    if json:
        print_json(values_of(planned, done))
        return
    screen.rows(f"{planned.job.name}: {'kept' if done.verdict.kept else 'dropped'}", words_of(done))
    paths = [("record", str(done.record)), ("plot", str(done.plot))]
    if done.folder is not None:
        paths.append(("model", str(done.folder)))
    screen.paths(paths)
    if done.folder is not None:
        screen.tell(f'to use it: model = "{planned.job.name}" under [members.chronos], or'
                    f" --set members.chronos.model={planned.job.name}")  # fmt: skip


def before_lines(planned: Planned, calendar: Calendar) -> list[str]:
    """What is about to be learnt from, and what it costs."""
    job = planned.job
    assert job.trained_until is not None
    lines = [
        f"{job.name}: {len(job.values[0])} sessions, {calendar.text(planned.first)} to "
        f"{calendar.text(job.trained_until)}, context {job.context}, {job.steps} steps, "
        f"mode {job.settings.mode}"
    ]
    if planned.lost and job.settings.mode == "adapter":
        lines.append(
            f"this end lies inside the bank: the backbone answers alone at {planned.lost} of its "
            f"{planned.cutoffs} validation cutoffs"
        )
    elif planned.lost:
        lines.append(
            f"this end lies inside the bank: the member cannot be asked at {planned.lost} of its "
            f"{planned.cutoffs} validation cutoffs"
        )
    return lines


def words_of(done: FineTuned) -> list[tuple[str, str]]:
    """The result in rows."""
    verdict, tuned = done.verdict, done.tuned
    learn, held, test = done.windows
    rows = [
        ("verdict", verdict.reason),
        ("windows", f"{learn} learnt from, {held} held back, {test} judged on in {verdict.blocks} stretches"),
        (
            "steps",
            f"{tuned.looks[-1].step if tuned.looks else 0} of {tuned.steps}, best look at {tuned.chosen}",
        ),
        ("loss", f"{verdict.base_loss:.4f} before, {verdict.tuned_loss:.4f} after"),
    ]
    if tuned.resumed_at is not None:
        rows.append(("resumed", f"at step {tuned.resumed_at}, from a training that was cut off"))
    return rows


def values_of(planned: Planned, done: FineTuned) -> dict[str, Any]:
    """The same as plain values."""
    learn, held, test = done.windows
    return {
        "name": planned.job.name,
        "base": planned.job.base,
        "trained_until": planned.job.trained_until,
        "cutoffs": planned.cutoffs,
        "cutoffs_lost": planned.lost,
        "verdict": done.verdict,
        "windows": {"learn": learn, "held_back": held, "test": test},
        "steps": done.tuned.steps,
        "chosen": done.tuned.chosen,
        "resumed_at": done.tuned.resumed_at,
        "model": done.folder,
        "record": done.record,
        "plot": done.plot,
    }
