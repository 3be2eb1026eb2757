"""`ChronosLoader`: a trained checkpoint asked and scored on series of one's own; runs on its own.

::

    python -m horizoncast.models.chronos.load [--root DIR] [--config FILE] [--model NAME]

Settings are those of ``config/chronos.toml``; on its own it forecasts the last steps of the dummy series.
Letters in shapes: S series, H steps, Q levels.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HistoryTooShortError, HorizoncastError, ModelError
from horizoncast.horizon import DECILES
from horizoncast.metrics import coverage, mae, weighted_quantile_loss
from horizoncast.models.chronos.dummy import dummy_series
from horizoncast.models.chronos.folder import BOLT, ModelManifest
from horizoncast.models.chronos.inference import Window, answer_bolt, answer_chronos2
from horizoncast.models.chronos.levels import at_levels
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline, release_pipeline
from horizoncast.models.chronos.places import find_model
from horizoncast.models.chronos.settings import ChronosSettings, read_settings, settings_under
from horizoncast.store.atomic import write_atomic

Floats = npt.NDArray[np.float64]

_CHUNK = 8


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How forecasts of the last H values of each series did.

    Parameters
    ----------
    series, steps
        S and H.
    wql
        Weighted quantile loss over the nine deciles.
    wql_repeated
        The same of repeating the last value, all levels alike.
    mae, mae_repeated
        Mean absolute error of the median, and of repeating the last value.
    coverage_80
        Share of outcomes inside the 80 % interval.
    """

    series: int
    steps: int
    wql: float
    wql_repeated: float
    mae: float
    mae_repeated: float
    coverage_80: float


class ChronosLoader:
    """Load a checkpoint, ask it, score it, write down what it said; a context manager.

    Parameters
    ----------
    settings
        Of ``config/chronos.toml``; the defaults without one.
    root
        Folder that relative folders in the settings start at.
    """

    def __init__(self, settings: ChronosSettings | None = None, *, root: Path | None = None) -> None:
        self.settings = ChronosSettings() if settings is None else settings
        self.root = Path.cwd() if root is None else root
        self._loaded: Loaded | None = None
        self._said: Floats | None = None

    def __enter__(self) -> ChronosLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def output(self) -> Path:
        """Folder of predictions."""
        return self.root / self.settings.folders.output / "load"

    def load_trained_model(self, model: str | Path = "") -> ModelManifest:
        """Load a model by name or folder; by default the one that the member would run.

        Raises
        ------
        UnknownNameError, StoreError, ModelError
            When it is not on disk, damaged, does not fit in memory, or has an adapter for covariates.
        """
        folder = find_model(str(model), self.root / self.settings.folders.models)
        loaded = get_pipeline(folder)
        if loaded.adapter is not None:
            release_pipeline()
            raise ModelError(
                f"{loaded.manifest.name} has an adapter, which reads covariates",
                value=", ".join(one.name for one in loaded.adapter.told.covariates),
                action="ask the member chronos, or name the model it was trained on",
            )
        self._loaded = loaded
        return self._loaded.manifest

    def release(self) -> None:
        """Let go of the model and give its memory back."""
        self._loaded = None
        release_pipeline()

    def predict(self, values: Sequence[Floats], steps: int | None = None) -> Floats:
        """Quantiles (S, H, Q) after the end of each series, at the levels of the settings.

        Parameters
        ----------
        values
            S series, oldest value first, of any lengths.
        steps
            H; ``prediction_length`` of the settings by default.

        Raises
        ------
        ModelError
            Before a model is loaded, and for values that are not finite.
        """
        if self._loaded is None:
            raise ModelError("no model is loaded", action="call load_trained_model first")
        rows = [np.asarray(row, dtype=np.float64) for row in values]
        for number, row in enumerate(rows):
            if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
                raise ModelError(f"series {number} is empty, or has values that are not finite")
        base = self.settings.base
        horizon = base.prediction_length if steps is None else steps
        context = min(base.context_length, self._loaded.manifest.context_length)
        windows = [Window(values=row[-context:]) for row in rows]
        if self._loaded.manifest.kind == BOLT:
            raw = answer_bolt(self._loaded, windows, context=context, steps=horizon, chunk=_CHUNK)
        else:
            raw = [answer_chronos2(self._loaded, w, context=context, steps=horizon) for w in windows]
        own = self._loaded.manifest.quantiles
        self._said = np.stack([at_levels(one.quantiles, own, base.quantiles)[0] for one in raw])
        return self._said

    def evaluate_on_test_data(self, values: Sequence[Floats]) -> Evaluation:
        """Forecast the last H values of each series from those before, and score them.

        Raises
        ------
        HistoryTooShortError
            When a series has no more than H values.
        ModelError
            As `predict`.
        """
        steps = self.settings.base.prediction_length
        rows = [np.asarray(row, dtype=np.float64) for row in values]
        if short := [len(row) for row in rows if len(row) <= steps]:
            raise HistoryTooShortError(
                "a series leaves nothing to forecast from", value=min(short), allowed=f"over {steps} values"
            )
        said = self.predict([row[:-steps] for row in rows], steps)
        actual = np.stack([row[-steps:] for row in rows])
        repeated = np.repeat(np.array([[row[-steps - 1]] for row in rows]), steps, axis=1)
        deciles = at_levels(said, self.settings.base.quantiles, DECILES)[0]
        flat = np.repeat(repeated[..., None], len(DECILES), axis=-1)
        return Evaluation(
            series=len(rows),
            steps=steps,
            wql=weighted_quantile_loss(actual, deciles, DECILES),
            wql_repeated=weighted_quantile_loss(actual, flat, DECILES),
            mae=mae(actual, deciles[..., DECILES.index(0.5)]),
            mae_repeated=mae(actual, repeated),
            coverage_80=coverage(actual, deciles[..., 0], deciles[..., -1]),
        )

    def save_predictions(self, file: Path | None = None) -> Path:
        """Write the last predictions as CSV, a row per series and step; returns the file.

        Raises
        ------
        ModelError
            Before a prediction.
        StoreError
            When the file cannot be written.
        """
        if self._said is None:
            raise ModelError("nothing has been predicted yet", action="call predict first")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["series", "step", *(f"q{level:g}" for level in self.settings.base.quantiles)])
        for number, rows in enumerate(self._said):
            writer.writerows([number, step, *map(repr, map(float, row))] for step, row in enumerate(rows, 1))
        place = self.output / "predictions.csv" if file is None else file
        write_atomic(place, lambda handle: handle.write(text.getvalue().encode()))
        return place


def main(argv: Sequence[str] | None = None) -> int:
    """Forecast the dummy series' last steps and score them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m horizoncast.models.chronos.load", description=__doc__)
    parser.add_argument("--root", type=Path, default=None, help="folder that holds config/; default: here")
    parser.add_argument("--config", type=Path, help="file instead of config/chronos.toml")
    parser.add_argument("--model", default="", help="name or folder; default: the one the member would run")
    given = parser.parse_args(argv)
    root = given.root or Path.cwd()
    try:
        settings = read_settings(given.config) if given.config else settings_under(root)
        with ChronosLoader(settings, root=root) as loader:
            model = loader.load_trained_model(given.model)
            found = loader.evaluate_on_test_data(dummy_series(settings.dummy))
            place = loader.save_predictions()
    except HorizoncastError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(
        f"{model.name} at {model.revision[:12]}: {found.series} dummy series, {found.steps} steps\n"
        f"WQL {found.wql:.4f}, repeating the last value {found.wql_repeated:.4f}; "
        f"MAE {found.mae:.4f}, repeating {found.mae_repeated:.4f}; 80 % covers {found.coverage_80:.0%}\n"
        f"predictions: {place}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
