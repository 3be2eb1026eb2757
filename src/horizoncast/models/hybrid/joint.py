"""Joint fine-tuning: Bolt's weights, moved for the sake of the fusion they end up in.

The pinball loss of the fused quantiles is lowered, with another model's out-of-sample rows standing by::

    fused = w_h chronos(theta) + (1 - w_h) other        w_h = sigmoid(before_h + omega_0 + omega_1 log h)
    loss = pinball(fused) + lambda |theta - theta_0|^2

theta unfreezes gradually (Howard & Ruder 2018) at low rates; the penalty against forgetting pulls it to
where it began, not to zero (L2-SP: Xuhong, Grandvalet & Davoine, ICML 2018). omega begins at what suits
the frozen weights best, so whatever is gained is theta's. Kept only when better, on windows after all
others, than both the fusion before it and the frozen weights with their best omega.

Letters in shapes: W cutoffs, N windows, B batch, T context, H steps, Q levels, L own levels of Bolt.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.bolt_descent import Goal, Progress, mean_pinball, tune_towards
from horizoncast.models.chronos.bolt_training import levels_of, training_mb
from horizoncast.models.chronos.finetuning import STATES, check_room, conclude, device_of, judged
from horizoncast.models.chronos.levels import at_levels
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline, release_pipeline
from horizoncast.models.chronos.tuning_job import FineTuned, Job, Outcome
from horizoncast.models.chronos.unfreezing import Group, group_of, groups_of
from horizoncast.models.chronos.verdict import window_losses
from horizoncast.models.chronos.windows import Split
from horizoncast.models.hybrid.joint_rows import Part, Rows, check, parts_of
from horizoncast.resources import MIB, memory_available

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PENALTY = 0.01
"""lambda, chosen by measurement (docs/embeddings.md)."""
FUSION_RATE = 0.01
"""Learning rate of omega."""
RECORD = "joint.json"
_CHUNK = 128
_OMEGA = "fusion.omega"


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """What came of a joint fine-tuning.

    Parameters
    ----------
    done
        Verdict, record, and the model folder where it was kept.
    omega
        Of the fusion; both 0 where it was dropped, so that the stage before stands.
    """

    done: FineTuned
    omega: tuple[float, float]

    def log_odds(self, steps: int) -> Floats:
        """(H,) to be added to the log-odds in favour of Chronos, from the model's `trained_until` on."""
        return self.omega[0] + self.omega[1] * np.log(np.arange(1, steps + 1))


def tune_jointly(
    job: Job,
    rows: Rows,
    *,
    penalty: float = PENALTY,
    fusion_rate: float = FUSION_RATE,
    progress: Progress | None = None,
) -> Joint:
    """Tune, judge, keep or drop; ``joint.json`` and the loss plot are written either way.

    A training that was cut off goes on where it was, to the same weights.

    Parameters
    ----------
    job
        Of one series, mode ``gradual``; its values end at `trained_until`, and cutoffs whose outcomes lie
        beyond them are left out. Weight decay towards zero is not used: the penalty takes its place.
    penalty
        lambda, at least 0.

    Raises
    ------
    ConfigError
        For another mode, Chronos-2, a model with an adapter, or more steps than one pass answers.
    HistoryTooShortError
        When a part has no window.
    BankError
        When the rows do not fit the job.
    NotInstalledError, StoreError, NotAdmittedError
        As `fine_tune`.
    """
    started = time.monotonic()
    job = replace(job, settings=replace(job.settings, weight_decay=0.0))
    loaded = get_pipeline(job.base)
    try:
        check(job, rows, loaded, penalty)
        parts = parts_of(job, rows, min(job.context, loaded.manifest.context_length))
        stage = _Stage(job, loaded, parts, rows.levels, penalty=penalty, rate=fusion_rate)
        outcome, omega = stage.run(progress)
        done = conclude(job, loaded, outcome, time.monotonic() - started, RECORD)
    finally:
        release_pipeline()  # its weights are no longer those of its folder
    return Joint(done=done, omega=omega if outcome.verdict.kept else (0.0, 0.0))


class _Stage:
    """One joint fine-tuning: the network, omega, and losses of the fusion."""

    def __init__(
        self,
        job: Job,
        loaded: Loaded,
        parts: tuple[Part, Part, Part],
        levels: Sequence[float],
        *,
        penalty: float,
        rate: float,
    ) -> None:
        import torch

        self.job, self.loaded, self.parts = job, loaded, parts
        self.levels, self.penalty, self.rate = tuple(levels), penalty, rate
        self.device = device_of(job.settings.device)
        network = loaded.pipeline.model
        if self.device == "cpu":
            needed = 1.25 * training_mb(network, job.settings)  # the weights it began with, besides
            check_room(loaded.manifest.name, needed, memory_available() / MIB)
        self.network = network.to(self.device)
        own = levels_of(network)
        self.map = torch.from_numpy(at_levels(np.eye(len(own)), own, levels)[0]).float().to(self.device)
        self.omega = torch.nn.Parameter(torch.zeros(2, device=self.device))
        self.first = self._anchors()

    def run(self, progress: Progress | None) -> tuple[Outcome, tuple[float, float]]:
        """Fit omega to the frozen weights, tune both, compare on the test windows."""
        job, (learn, held, test) = self.job, self.parts
        fusions = {"stage before": self._losses(test)}
        alone = self._fit_omega(learn)
        fusions["fusion alone"] = self._losses(test)
        goal = Goal(
            windows=len(learn.windows),
            batch_loss=lambda _, rows: self._batch_loss(rows),
            held_loss=lambda _: float(np.nanmean(self._losses(held))),
            groups=(Group(name="fusion", rate=self.rate, start=0),),
            parameters={"fusion": [(_OMEGA, self.omega)]},
        )
        states = job.output / STATES
        tuned = tune_towards(
            self.network, goal, job.settings, states=states, key=self._key(), progress=progress
        )
        fusions["joint"] = after = self._losses(test)
        before = min(
            (fusions["stage before"], fusions["fusion alone"]), key=lambda part: float(np.nanmean(part))
        )
        split = Split(learn=learn.windows, held=held.windows, test=test.windows)
        omega = self._omega()
        outcome = Outcome(
            tuned=tuned,
            verdict=judged(before, after, tuned, split, job.settings),
            save=lambda folder: self.network.to("cpu").save_pretrained(folder),
            windows=(len(learn.windows), len(held.windows), len(test.windows)),
            device=self.device,
            label="joint",
            facts={
                "joint": {
                    "omega": omega,
                    "omega_alone": alone,
                    "penalty": self.penalty,
                    "fusion_rate": self.rate,
                    "drift": self._drift(),
                    "losses": {name: float(np.nanmean(part)) for name, part in fusions.items()},
                }
            },
        )
        return outcome, omega

    def _batch_loss(self, rows: Ints) -> torch.Tensor:
        """Pinball loss of the fused quantiles of some learning windows, and the penalty."""
        import torch

        part = self.parts[0]
        picked = Part(windows=part.windows.pick(rows), other=part.other[rows], before=part.before[rows])
        contexts, targets = (torch.from_numpy(a).to(self.device) for a in picked.windows.centred())
        loss = mean_pinball(self._fused(self._chronos(contexts), picked), targets, self.levels)
        return loss + self.penalty * self._distance()

    def _chronos(self, contexts: torch.Tensor) -> torch.Tensor:
        """(B, H, Q) Bolt's quantiles at the rows' levels: linear in its own, as `at_levels`."""
        found = self.network(context=contexts).quantile_preds[:, :, : self.parts[0].other.shape[1]]
        ordered: torch.Tensor = found.transpose(1, 2).sort(dim=2).values
        return ordered @ self.map

    def _fused(self, chronos: torch.Tensor, part: Part) -> torch.Tensor:
        """(B, H, Q) with the weight of each window and lead."""
        import torch

        other, before = (torch.from_numpy(a).to(self.device) for a in (part.other, part.before))
        leads = torch.log(torch.arange(1, other.shape[1] + 1, device=self.device))
        weight = torch.sigmoid(before + self.omega[0] + self.omega[1] * leads)[..., None]
        return weight * chronos + (1.0 - weight) * other

    def _answers(self, part: Part) -> torch.Tensor:
        """(N, H, Q) of the weights as they are."""
        import torch

        contexts, _ = part.windows.centred()
        self.network.eval()
        with torch.no_grad():
            pieces = [
                self._chronos(torch.from_numpy(contexts[at : at + _CHUNK]).to(self.device))
                for at in range(0, len(contexts), _CHUNK)
            ]
        return torch.cat(pieces)

    def _losses(self, part: Part, answers: torch.Tensor | None = None) -> Floats:
        """(N,) losses of the fused quantiles."""
        import torch

        with torch.no_grad():
            fused = self._fused(self._answers(part) if answers is None else answers, part)
        restored = part.windows.restored(fused.double().cpu().numpy())
        return window_losses(restored, part.windows, self.levels)

    def _fit_omega(self, learn: Part) -> tuple[float, float]:
        """The omega that suits the weights as they are; faintly held at the fusion before."""
        import torch
        from scipy.optimize import minimize

        answers = self._answers(learn)

        def loss(omega: Floats) -> float:
            with torch.no_grad():
                self.omega.copy_(torch.from_numpy(omega))
            return float(np.nanmean(self._losses(learn, answers)) + 1e-4 * (omega**2).mean())

        start = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.25]])
        options = {"initial_simplex": start, "xatol": 1e-3, "fatol": 1e-7, "maxiter": 200}
        found = minimize(loss, start[0], method="Nelder-Mead", options=options)
        with torch.no_grad():
            self.omega.copy_(torch.from_numpy(found.x))
        return self._omega()

    def _anchors(self) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        """Weights that will move, with a copy of where they began."""
        settings, layers = self.job.settings, int(self.network.config.num_layers)
        names = {group.name for group in groups_of(settings, settings.steps)}
        return [
            (parameter, parameter.detach().clone())
            for name, parameter in self.network.named_parameters()
            if group_of(name, encoder_layers=layers, encoder_blocks=settings.encoder_blocks) in names
        ]

    def _distance(self) -> torch.Tensor:
        """|theta - theta_0|^2 over the weights that have been unfrozen; the others have not moved."""
        import torch

        if self.penalty == 0:
            return torch.zeros((), device=self.device)
        moved = [((now - then) ** 2).sum() for now, then in self.first if now.requires_grad]
        return torch.stack(moved).sum()

    def _drift(self) -> float:
        """|theta - theta_0|."""
        return math.sqrt(math.fsum(float(((now.detach() - then) ** 2).sum()) for now, then in self.first))

    def _omega(self) -> tuple[float, float]:
        first, second = self.omega.detach().cpu().tolist()
        return first, second

    def _key(self) -> str:
        """What the training is a function of."""
        said = (self.loaded.manifest.digest, self.job.settings, self.levels, self.penalty, self.rate)
        state = hashlib.sha256(repr(said).encode())
        for part in self.parts[:2]:
            state.update(part.windows.digest().encode())
            state.update(part.other.tobytes() + part.before.tobytes())
        return f"joint-{state.hexdigest()[:24]}"
