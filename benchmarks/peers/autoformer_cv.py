"""Our Autoformer beside those of transformers and neuralforecast: one job, one fit, the same cutoffs.

    python benchmarks/peers/autoformer_cv.py job bike_demand 7 work/job.npz
    python benchmarks/peers/autoformer_cv.py ours work/job.npz work/ours.npz
    python benchmarks/peers/autoformer_cv.py transformers work/job.npz work/transformers.npz
    VENV/bin/python benchmarks/peers/autoformer_cv.py neuralforecast work/job.npz work/neuralforecast.npz
    python benchmarks/peers/autoformer_cv.py compare work/job.npz work/ours.npz work/transformers.npz ...

All train once on what precedes the first cutoff, on the target alone with calendar marks, in the
series' scale: 150 steps of 32 windows, context 96, width 32, one encoder and one decoder layer. Ours
does what it always does; the others get the published defaults for the rest. Their anchors are theirs:
the mean of the window.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

DECILES = tuple(k / 10 for k in range(1, 10))
STEPS, BATCH, CONTEXT, WIDTH, LAG = 150, 32, 96, 32, 7


def job(name: str, steps: str, out: str) -> None:
    """Values in the scale, calendar marks, rows of 20 cutoffs of the last fifth."""
    series = _series(name)
    z = series.until(series.last).z
    from horizoncast.models.autoformer.anchor import calendar_marks

    last = len(z) - int(steps) - 1
    rows = np.unique(np.linspace(int(0.8 * len(z)), last, 20).astype(np.int64))
    marks = calendar_marks(series.dates, series.calendar.kind)
    np.savez(out, name=name, steps=int(steps), z=z, marks=marks, rows=rows, dates=series.dates)


def _series(name: str) -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from dataclasses import replace

    from beds import ecb_series, structured_series

    series = ecb_series(name[4:]) if name.startswith("ecb:") else structured_series(name)
    return replace(series, covariates=())


def ours(given: Any) -> np.ndarray:
    """One fit at the first cutoff, (W, H, Q)."""
    from horizoncast.horizon import Horizon
    from horizoncast.models.autoformer.config import AutoformerConfig
    from horizoncast.models.autoformer.member import Autoformer

    series, horizon = _series(str(given["name"])), Horizon(steps=int(given["steps"]))
    member = Autoformer(AutoformerConfig(), service="benchmark")
    state = member.fit(series.until(series.dates[given["rows"][0]]).tail(member.config.window), horizon)
    rng = np.random.default_rng(0)
    at = [series.until(series.dates[row]) for row in given["rows"]]
    return np.stack([member.predict(state, history, horizon, DECILES, rng).quantiles for history in at])


def transformers(given: Any) -> np.ndarray:
    """`AutoformerForPrediction`, Student-t head; 100 sampled paths per cutoff."""
    import torch
    from transformers import AutoformerConfig, AutoformerForPrediction

    z, marks, steps = given["z"], given["marks"], int(given["steps"])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoformerForPrediction(
        AutoformerConfig(
            prediction_length=steps,
            context_length=CONTEXT,
            lags_sequence=list(range(1, LAG + 1)),
            num_time_features=marks.shape[1],
            d_model=WIDTH,
            encoder_layers=1,
            decoder_layers=1,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            encoder_attention_heads=1,
            decoder_attention_heads=1,
            label_length=24,
        )
    )
    past = CONTEXT + LAG

    def inputs(rows: np.ndarray, future: bool) -> dict[str, Any]:
        before = rows[:, None] - past + 1 + np.arange(past)
        after = rows[:, None] + 1 + np.arange(steps)
        found = {
            "past_values": z[before],
            "past_time_features": marks[before],
            "past_observed_mask": np.ones_like(z[before]),
            "future_time_features": marks[after],
        }
        if future:
            found["future_values"] = z[after]
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in found.items()}

    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    pool = np.arange(past, given["rows"][0] - steps + 1)
    for _ in range(STEPS):
        loss = model(**inputs(rng.choice(pool, min(BATCH, len(pool))), future=True)).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    model.eval()
    found = []
    with torch.no_grad():
        for row in given["rows"]:
            paths = model.generate(**inputs(np.array([row]), future=False)).sequences[0].numpy()
            found.append(np.quantile(paths, DECILES, axis=0).T)
    return np.stack(found)


def neuralforecast(given: Any) -> np.ndarray:
    """Neuralforecast's Autoformer with its multi-quantile loss."""
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import Autoformer

    z, steps, first = given["z"], int(given["steps"]), int(given["rows"][0])
    table = pd.DataFrame({"unique_id": "s", "ds": np.arange(len(z)), "y": z})
    model = Autoformer(
        h=steps,
        input_size=CONTEXT,
        hidden_size=WIDTH,
        n_head=1,
        conv_hidden_size=64,
        encoder_layers=1,
        decoder_layers=1,
        loss=MQLoss(quantiles=list(DECILES)),
        max_steps=STEPS,
        learning_rate=1e-3,
        windows_batch_size=BATCH,
        scaler_type="standard",
        random_seed=0,
        accelerator="cpu",
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
    )
    tool = NeuralForecast(models=[model], freq=1)
    tool.fit(table[: first + 1])
    found = []
    for row in given["rows"]:
        answer = tool.predict(table[: row + 1])
        columns = [c for c in answer.columns if c.startswith("Autoformer")]
        found.append(np.sort(answer[columns].to_numpy(), axis=1))
    return np.stack(found)


def compare(place: str, *answers: str) -> None:
    """WQL of each relative to the naive's that ours is anchored at."""
    given = np.load(place)
    rows, steps = given["rows"], int(given["steps"])
    y = given["z"][rows[:, None] + 1 + np.arange(steps)]
    tau = np.array(DECILES)
    losses = {}
    for answer in answers:
        gap = y[..., None] - np.load(answer)["quantiles"]
        losses[Path(answer).stem] = float(np.maximum(tau * gap, (tau - 1) * gap).mean())
    for name, loss in losses.items():
        print(f"{given['name']}/{steps} {name}: WQL relative to ours {loss / losses['ours']:.3f}")
    for answer in answers:
        print(f"{Path(answer).stem}: {float(np.load(answer)['cpu_s']):.1f} CPU s")


def main() -> None:
    command, *more = sys.argv[1:]
    if command == "job":
        job(*more)
    elif command == "compare":
        compare(*more)
    else:
        started = time.process_time()
        quantiles = {"ours": ours, "transformers": transformers, "neuralforecast": neuralforecast}[command](
            np.load(more[0])
        )
        np.savez(more[1], quantiles=quantiles, cpu_s=time.process_time() - started)


if __name__ == "__main__":
    main()
