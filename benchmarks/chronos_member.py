"""What the member `chronos` costs.

    python benchmarks/chronos_member.py cost                  # a random Bolt of chronos-bolt-small's size
    python benchmarks/chronos_member.py cost --model NAME     # a model on disk, or a folder

The member's own process as a run starts it, the fork server warm: start, imports, the check of the files,
loading, and the cutoffs at the adaptive contexts that ship, 40 and the live one at 30 steps, 20 and the live
one at 90 (as many where the checkpoint need not unroll: 40). To stay below: 10 s and 900 MB at that size, on
a quiet machine; processor seconds are less sensitive to what else it does. Weights are random: they cost
the same as trained ones.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
from dataclasses import replace
from pathlib import Path

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.models.child import Task, run_in_child
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.folder import MANIFEST, read_manifest, write_manifest
from horizoncast.models.chronos.places import find_model
from horizoncast.models.registry import make_config
from horizoncast.resources import Usage
from horizoncast.series import Series

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "targets" / "usdmxn.toml"
WORK = Path(__file__).resolve().parent / "work"
STRIDES = {30: 5, 90: 10}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["cost"])
    parser.add_argument("--model", default="", help="name of a model on disk, or a folder")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of the models")
    options = parser.parse_args()
    folder = find_model(options.model, options.models) if options.model else random_small()
    series = load_series(read_target(TARGET)).series
    warm(series)
    manifest = read_manifest(folder)
    rows = [cost(series, folder, steps) for steps in (30, 90)]
    print(json.dumps({"model": manifest.name, "parameters": manifest.parameters, "runs": rows}, indent=1))
    return int(any(row["failures"] for row in rows))


def cost(series: Series, folder: Path, steps: int) -> dict[str, object]:
    """Seconds and memory of the member's process at one horizon."""
    horizon = Horizon(steps=steps)
    config = ChronosConfig(model=str(folder))
    config = replace(config, window=config.windows_shipped[horizon.name])
    newest = len(series) - 1 - steps
    past = tuple(series.dates[newest - STRIDES[steps] * k] for k in range(40))
    task = Task(
        member="chronos", config=config, service="cost", series=series,
        cutoffs=config.asks((series.last, *past), horizon), horizon=horizon, levels=LEVELS,
    )  # fmt: skip
    answers = list(run_in_child(task))
    usage = next((a for a in answers if isinstance(a, Usage)), None)
    return {
        "steps": steps,
        "context": config.context,
        "cutoffs": sum(isinstance(a, Forecast) for a in answers),
        "failures": [a.reason for a in answers if isinstance(a, Failure)],
        "wall_s": usage and round(usage.wall_s, 2),
        "cpu_s": usage and round(usage.cpu_s, 2),
        "peak_mb": usage and round(usage.peak_mb),
    }


def warm(series: Series) -> None:
    """Start the fork server: a run's first member pays for it, whichever that is."""
    task = Task(
        member="random_walk", config=make_config("random_walk"), service="cost", series=series,
        cutoffs=(series.last,), horizon=Horizon(steps=5), levels=LEVELS,
    )  # fmt: skip
    list(run_in_child(task))


def random_small() -> Path:
    """A Bolt of chronos-bolt-small's shape (d 512, 6 and 6 layers, 48 million) with random weights."""
    folder = WORK / "random-bolt-small"
    if (folder / MANIFEST).is_file():
        return folder
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    config = T5Config(
        d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6, num_heads=8, vocab_size=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, initializer_factor=0.05,
        feed_forward_proj="relu", tie_word_embeddings=False,
    )  # fmt: skip
    config.architectures = ["ChronosBoltModelForForecasting"]
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    config.chronos_config = {
        "context_length": 2048, "prediction_length": 64, "input_patch_size": 16, "input_patch_stride": 16,
        "quantiles": list(DECILES), "use_reg_token": True,
    }  # fmt: skip
    torch.manual_seed(0)
    ChronosBoltModelForForecasting(config).save_pretrained(folder)
    for stray in folder.iterdir():
        if stray.name not in ("config.json", "model.safetensors"):
            stray.unlink()
    write_manifest(
        folder, name="random-bolt-small", revision="1", licence="none", trained_until=None,
        created_by="benchmarks/chronos_member.py",
    )  # fmt: skip
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
