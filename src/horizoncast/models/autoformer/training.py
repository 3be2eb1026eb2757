"""Training at a re-fit point: a closed-form start, fixed steps, early stop on held-back windows.

Letters in shapes: N origins, H steps.
"""

from __future__ import annotations

from collections.abc import Callable

from horizoncast.horizon import LEVELS
from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.descent import Descent, Job, Resume
from horizoncast.models.autoformer.network import NetworkConfig
from horizoncast.models.autoformer.settle import settle
from horizoncast.models.autoformer.trained import Trained, quiet_torch
from horizoncast.models.autoformer.warm_start import best_warm_start

_WORK = 6_500_000
"""Most steps times the square of sessions per sample: long horizons train fewer steps, to end in time."""


def network_config(config: AutoformerConfig, examples: Examples, label: int) -> NetworkConfig:
    """Shape of the network for these examples."""
    return NetworkConfig(
        channels=examples.values.shape[2],
        marks=examples.marks.shape[2],
        features=examples.known.shape[2],
        context=examples.values.shape[1],
        label=label,
        steps=examples.target.shape[1],
        levels=LEVELS,
        d_model=config.d_model,
        feed_forward=config.feed_forward,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        kernels=config.kernels,
        factor=config.factor,
        dropout=config.dropout,
        gaussian=config.variant == "bayesian",
        anchored=config.start == "anchored",
    )


Tell = Callable[[int, int], None]
"""Called with steps done and most steps, over all networks."""


def train(
    config: AutoformerConfig,
    learn: Examples,
    held: Examples,
    *,
    label: int,
    seed: int,
    own: int | None = None,
    tell: Tell | None = None,
    resume: Resume | None = None,
) -> Trained:
    """Train one network, or one per seed, and let the held-back windows decide how far to follow it.

    Parameters
    ----------
    learn, held
        Origins to learn from, and later ones whose outcomes do not overlap with theirs.
    label
        J, sessions of the context that the decoder starts from.
    own
        How many of the first origins are the target's; None for all.
    tell
        Hears of progress.
    resume
        Where unfinished training is kept; None keeps none.
    """
    scaler = Scaler.of(learn.known)
    shape = network_config(config, learn, label)
    anchored = config.start == "anchored" and config.warm
    start = best_warm_start(scaler, learn, held, own=own) if anchored else None
    count = config.seeds if config.uncertainty == "ensemble" else 1
    most = min(config.steps, max(1, _WORK // (shape.context + shape.label + shape.steps) ** 2))
    if len(learn.rows) < config.min_origins:
        most = 0
    found = []
    for k in range(count):
        job = Job(
            config=config,
            shape=shape,
            scaler=scaler,
            learn=learn,
            held=held,
            start=start,
            seed=seed + k,
            most=most,
        )
        with quiet_torch(job.seed):
            descent = Descent(job, resume=resume, place=k)
            for step in descent.run():
                if tell is not None:
                    tell(k * most + step, count * most)
            found.append(descent.best())
    if tell is not None:
        tell(count * most, count * most)
    trained = Trained(
        networks=tuple(network for network, _, _ in found),
        scaler=scaler,
        method=config.uncertainty,
        samples=config.samples,
        seed=seed,
        start=start,
        chosen=tuple(step for _, step, _ in found),
        curves=tuple(curve for _, _, curve in found),
    )
    return settle(trained, learn, held)
