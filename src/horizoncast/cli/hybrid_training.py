"""`hybrid train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from horizoncast.cli.hybrid_words import outlook, ruling_words, stage_rows, use_words, values_of
from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.errors import HistoryTooShortError
from horizoncast.models.chronos.settings import ChronosSettings, read_settings, settings_under
from horizoncast.service.hybrid_subjects import Subject, subject_of
from horizoncast.service.hybrid_training import STAGES, Done, HybridTraining


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person may choose; nothing named stands for all services and all stages.

    Parameters
    ----------
    windows
        Most training cutoffs.
    chronos
        File instead of ``config/chronos.toml``.
    """

    services: tuple[str, ...]
    stages: tuple[str, ...]
    windows: int
    chronos: Path | None


def train(commons: Sequence[Common], asked: Asked, *, dry_run: bool, json: bool, quiet: bool) -> None:
    """Train stage by stage, and say what became of each.

    A service whose history is too short is told and left out; the exit code is then that of its error.
    """
    screen = Screen(as_json=json, quiet=quiet)
    subjects, short = _subjects(commons, asked)
    for error in short:
        screen.complain(f"left out: {error}")
    if not subjects:
        raise short[0]
    training = HybridTraining(subjects, asked.stages or STAGES)
    if dry_run:
        _look_ahead(training, screen, json=json)
    else:
        with training.locked():
            done = _carry_out(training, screen)
        _report(training, done, screen, json=json)
    if short:
        raise typer.Exit(short[0].exit_code)


def _subjects(commons: Sequence[Common], asked: Asked) -> tuple[list[Subject], list[HistoryTooShortError]]:
    """Every service on every series that was named, and those with too little history."""
    from horizoncast.data.target_file import read_target
    from horizoncast.service.inputs import read_series

    found, short = [], []
    for common in commons:
        for name in asked.services or common.places().services():
            settings = common.settings(name)
            series = read_series(settings, read_target(settings.target_path), as_of=common.as_of).series
            chronos = _chronos(asked, settings.places.root)
            try:
                found.append(subject_of(settings, series, windows=asked.windows, chronos=chronos))
            except HistoryTooShortError as error:
                short.append(error)
    return found, short


def _chronos(asked: Asked, root: Path) -> ChronosSettings:
    return read_settings(asked.chronos) if asked.chronos else settings_under(root)


def _look_ahead(training: HybridTraining, screen: Screen, *, json: bool) -> None:
    looks = []
    for subject in training.subjects:
        todo = {stage: training.finished(stage, subject) is None for stage in training.stages}
        looks.append(values_of(subject, []) | {"to_do": [stage for stage, left in todo.items() if left]})
        if not json:
            screen.rows(subject.label, outlook(subject, todo))
    if json:
        print_json({"dry_run": True, "hybrids": looks})


def _carry_out(training: HybridTraining, screen: Screen) -> dict[Path, list[Done]]:
    """All stages of all subjects; what each came to, by the subject's folder."""
    done: dict[Path, list[Done]] = {subject.folder: [] for subject in training.subjects}
    for stage, subject in training.steps():
        place = f"stage {STAGES.index(stage) + 1} of {len(STAGES)}"
        screen.tell(f"{subject.label}: {stage} ({place})")
        with screen.progressing():
            one = training.run(stage, subject, screen.advance)
        for line in (one.anew, "done by an earlier call" if one.resumed else ""):
            if line:
                screen.tell(f"  {line}")
        for ruling in one.record.rulings:
            screen.tell(f"  {ruling.stage} {ruling_words(ruling)}")
        done[subject.folder].append(one)
    return done


def _report(training: HybridTraining, done: dict[Path, list[Done]], screen: Screen, *, json: bool) -> None:
    if json:
        print_json({"hybrids": [values_of(subject, done[subject.folder]) for subject in training.subjects]})
        return
    for subject in training.subjects:
        for one in done[subject.folder]:
            screen.rows(f"{subject.label}: {one.record.stage}", stage_rows(one))
        screen.paths([("parts and records", str(subject.folder))])
        model = done[subject.folder][-1].record.model
        if model:
            screen.tell(use_words(model))
