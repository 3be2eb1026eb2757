"""`ChronosTrainer`: dummy or own series, fine-tuning, verdict, saved model; runs on its own.

::

    python -m horizoncast.models.chronos.train [--root DIR] [--config FILE] [--base MODEL]

Settings are those of ``config/chronos.toml``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HorizoncastError, ModelError, StoreError
from horizoncast.models.chronos.bolt_descent import Progress
from horizoncast.models.chronos.dummy import dummy_series
from horizoncast.models.chronos.finetuning import fine_tune, losses_on
from horizoncast.models.chronos.folder import MANIFEST, verify
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.places import find_model, place_of
from horizoncast.models.chronos.settings import ChronosSettings, read_settings, settings_under
from horizoncast.models.chronos.tuning_job import FineTuned, Job
from horizoncast.models.chronos.verdict import Verdict, blocks_of, judge
from horizoncast.models.chronos.windows import Split, split_windows

Floats = npt.NDArray[np.float64]

NAME = "tuned/dummy"


class ChronosTrainer:
    """Fine-tune a Chronos checkpoint step by step.

    Parameters
    ----------
    settings
        Of ``config/chronos.toml``; the defaults without one.
    base
        Model folder, or the name of a model on disk; None takes ``[base] repo`` where it has been
        fetched, else the checkpoint that ships.
    root
        Folder that relative folders in the settings start at.
    name
        Of the trained model.

    Examples
    --------
    >>> trainer = ChronosTrainer()
    >>> len(trainer.generate_dummy_data())
    8
    >>> split = trainer.prepare_training_data()
    >>> split.learn.contexts.shape[1], split.steps
    (200, 48)
    """

    def __init__(
        self,
        settings: ChronosSettings | None = None,
        *,
        base: Path | str | None = None,
        root: Path | None = None,
        name: str = NAME,
    ) -> None:
        self.settings = ChronosSettings() if settings is None else settings
        self.root = Path.cwd() if root is None else root
        self.base = base
        self.name = name
        self._values: tuple[Floats, ...] = ()
        self._until: np.datetime64 | None = None
        self._done: FineTuned | None = None

    @property
    def models(self) -> Path:
        """Folder of the models."""
        return self.root / self.settings.folders.models

    @property
    def output(self) -> Path:
        """Folder of record, plot and the trained model before it is saved."""
        return self.root / self.settings.folders.output / "train"

    def base_folder(self) -> Path:
        """The model folder to start from.

        Raises
        ------
        UnknownNameError, StoreError
            When it is not on disk.
        """
        if self.base is not None:
            return find_model(str(self.base), self.models)
        preferred = place_of(self.models, self.settings.base.repo)
        return preferred if (preferred / MANIFEST).is_file() else find_model("", self.models)

    def generate_dummy_data(self) -> tuple[Floats, ...]:
        """Series of the patterns in ``[dummy]``, (length,) each; they become the training data."""
        self._values, self._until = dummy_series(self.settings.dummy), None
        return self._values

    def prepare_training_data(
        self, values: Sequence[Floats] | None = None, *, trained_until: np.datetime64 | None = None
    ) -> Split:
        """Cut series into windows to learn from, to hold back, and to judge on.

        Parameters
        ----------
        values
            (n,) per series; those given or generated before by default.
        trained_until
            Date of the last value; required of real series that a forecast will be scored on.

        Raises
        ------
        HistoryTooShortError
            When a part has no window.
        """
        if values is not None:
            self._values = tuple(np.asarray(row, dtype=np.float64) for row in values)
            self._until = trained_until
        given = self._values or self.generate_dummy_data()
        asked = self.settings.base
        return split_windows(
            given,
            context=asked.context_length,
            steps=asked.prediction_length,
            settings=self.settings.training,
        )

    def train_model(self, progress: Progress | None = None) -> FineTuned:
        """Fine-tune on the prepared series and judge the result; writes the record and the loss plot."""
        values = self._values or self.generate_dummy_data()
        asked = self.settings.base
        job = Job(
            base=self.base_folder(),
            name=self.name,
            values=values,
            trained_until=self._until,
            context=asked.context_length,
            steps=asked.prediction_length,
            models=self.output / "trained",
            output=self.output,
            settings=self.settings.training,
            facts={"series": len(values), "dummy": self._until is None},
            created_by="horizoncast.models.chronos.train",
        )
        self._done = fine_tune(job, progress)
        return self._done

    def save_trained_model(self, folder: Path | None = None) -> Path:
        """Copy the trained model to its place among the models, or to a folder.

        Raises
        ------
        ModelError
            Before a training, and when the training did not beat its base.
        StoreError
            When a named folder exists.
        """
        trained = self._trained()
        place = place_of(self.models, self.name) if folder is None else folder
        if place.exists():
            if folder is not None:
                raise StoreError("the folder exists already", value=place, action="name another one")
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(trained, place)
        verify(place)
        return place

    def evaluate_model(self) -> Verdict:
        """Base and trained model, both loaded anew, on the windows that no training saw.

        Raises
        ------
        ModelError
            Before a training, and when the training did not beat its base.
        """
        trained, settings = self._trained(), self.settings.training
        base = self.base_folder()
        steps = min(self.settings.base.prediction_length, verify(base).prediction_length)
        context = min(self.settings.base.context_length, verify(base).context_length)
        test = split_windows(self._values, context=context, steps=steps, settings=settings).test
        try:
            before = losses_on(get_pipeline(base), test)
            after = losses_on(get_pipeline(trained), test)
        finally:
            release_pipeline()
        return judge(
            before,
            after,
            blocks_of(test),
            min_gain=settings.min_gain,
            significance=settings.significance,
        )

    def _trained(self) -> Path:
        if self._done is None:
            raise ModelError("nothing has been trained yet", action="call train_model first")
        if self._done.folder is None:
            raise ModelError("the training was dropped", value=self._done.verdict.reason)
        return self._done.folder


@contextmanager
def progress_bar(unit: str = "step") -> Iterator[Progress]:
    """A bar on standard error; plain lines at every tenth where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _plain_lines(unit)
        return
    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("loss {task.fields[loss]:.4f}"), console=console, transient=True) as bar:
        task = bar.add_task(unit, loss=float("nan"))
        yield lambda step, steps, loss: bar.update(task, completed=step, total=steps, loss=loss)


def _plain_lines(unit: str) -> Progress:
    def tell(step: int, steps: int, loss: float) -> None:
        if 10 * step // steps > 10 * (step - 1) // steps:
            sys.stderr.write(f"{unit} {step} of {steps}, loss {loss:.4f}\n")

    return tell


def main(argv: Sequence[str] | None = None) -> int:
    """Train on dummy data from beginning to end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m horizoncast.models.chronos.train", description=__doc__)
    parser.add_argument("--root", type=Path, default=None, help="folder that holds config/; default: here")
    parser.add_argument("--config", type=Path, help="file instead of config/chronos.toml")
    parser.add_argument("--base", help="model folder, or name of a model on disk")
    given = parser.parse_args(argv)
    root = given.root or Path.cwd()
    try:
        settings = read_settings(given.config) if given.config else settings_under(root)
        trainer = ChronosTrainer(settings, base=given.base, root=root)
        count = len(trainer.generate_dummy_data())
        split = trainer.prepare_training_data()
        sys.stdout.write(
            f"{count} dummy series; windows: {len(split.learn)} to learn from, {len(split.held)} held back, "
            f"{len(split.test)} to judge on; base: {trainer.base_folder()}\n"
        )
        with progress_bar() as progress:
            done = trainer.train_model(progress)
        sys.stdout.write(f"{'kept' if done.verdict.kept else 'dropped'}: {done.verdict.reason}\n")
        sys.stdout.write(f"record: {done.record}\nplot: {done.plot}\n")
        if done.verdict.kept:
            sys.stdout.write(f"loaded again: {trainer.evaluate_model().reason}\n")
            sys.stdout.write(f"model: {trainer.save_trained_model()}\n")
            sys.stdout.write(f"ask it: python -m horizoncast.models.chronos.load --model {trainer.name}\n")
    except HorizoncastError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
