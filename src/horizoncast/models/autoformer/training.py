"""Training at a re-fit point: fixed steps, early stop on held-back windows, and how much to believe it.

Letters in shapes: N origins, H steps, Q levels, U features of the last layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from horizoncast.horizon import LEVELS
from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.heads import normal_quantiles
from horizoncast.models.autoformer.network import Network, NetworkConfig
from horizoncast.models.autoformer.uncertainty import LastLayer, Parts, fit_last_layer, total_variance

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_OPTIONS = ((3.0, False), (300.0, True), (30.0, True), (3.0, True))
"""Penalty of the last layer's posterior, and whether its mean moves the median."""
_SHARES = (0.25, 0.5, 0.75, 1.0)
_CHUNK = 32
_LAYER_ORIGINS = 256
_WORK = 6_500_000
"""Most steps times the square of sessions per sample: long horizons train fewer steps, to end in time."""
_LEADS = 12
"""Steps per origin that the last layer learns from; more of them say the same again."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Losses after some steps: the mean of the training batches since the last look, and held back."""

    step: int
    train: float
    held: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """Networks and what the held-back windows decided about them.

    Parameters
    ----------
    networks
        One, or one per seed of an ensemble; in evaluation mode, on the processor.
    scaler
        Of the features.
    method
        How the epistemic part is found.
    samples, seed
        Passes and seed of Monte Carlo dropout.
    share
        Part of the way from the naive to the network that is gone; 0 answers with the naive.
    last_layer
        Posterior of the first network's last layer.
    chosen
        Step whose weights were kept, per network.
    curves
        Losses by step, per network.
    held_ratio
        Held-back pinball loss of the answer relative to the naive.
    """

    networks: tuple[Network, ...]
    scaler: Scaler
    method: str
    samples: int
    seed: int
    share: float = 1.0
    last_layer: LastLayer | None = None
    chosen: tuple[int, ...] = ()
    curves: tuple[tuple[Look, ...], ...] = field(default=())
    held_ratio: float = 1.0


@contextmanager
def quiet_torch(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a seed, inside; everything as it was, outside."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def network_config(config: AutoformerConfig, examples: Examples, label: int) -> NetworkConfig:
    """Shape of the network for these examples."""
    return NetworkConfig(
        channels=examples.values.shape[2],
        marks=examples.marks.shape[2],
        features=examples.features.shape[2],
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


def train(config: AutoformerConfig, learn: Examples, held: Examples, *, label: int, seed: int) -> Trained:
    """Train one network, or one per seed, and let the held-back windows decide how far to follow it.

    Parameters
    ----------
    learn, held
        Origins to learn from, and later ones whose outcomes do not overlap with theirs.
    label
        J, sessions of the context that the decoder starts from.
    """
    scaler = Scaler.of(learn.features)
    shape = network_config(config, learn, label)
    count = config.seeds if config.uncertainty == "ensemble" else 1
    networks, chosen, curves = [], [], []
    with quiet_torch(seed):
        for k in range(count):
            torch.manual_seed((seed + k) % 2**63)
            network, step, curve = _train_one(config, shape, scaler, learn, held, seed=seed + k)
            networks.append(network)
            chosen.append(step)
            curves.append(curve)
    trained = Trained(
        networks=tuple(networks),
        scaler=scaler,
        method=config.uncertainty,
        samples=config.samples,
        seed=seed,
        chosen=tuple(chosen),
        curves=tuple(curves),
    )
    return _settle(config, trained, learn, held)


def _train_one(
    config: AutoformerConfig,
    shape: NetworkConfig,
    scaler: Scaler,
    learn: Examples,
    held: Examples,
    *,
    seed: int,
) -> tuple[Network, int, tuple[Look, ...]]:
    """The weights of the look with the smallest held-back loss, its step, and all looks."""
    network = Network(shape)
    best = (_held_loss(network, scaler, held), 0, _copy(network))
    looks = [Look(step=0, train=float("nan"), held=best[0])]
    recent: list[float] = []
    most = min(config.steps, max(1, _WORK // (shape.context + shape.label + shape.steps) ** 2))
    for step, loss in _descend(config, network, scaler, learn, steps=most, seed=seed):
        recent.append(loss)
        if step % config.check_every and step != most:
            continue
        held_loss = _held_loss(network, scaler, held)
        looks.append(Look(step=step, train=float(np.mean(recent)), held=held_loss))
        recent = []
        if held_loss < best[0]:
            best = (held_loss, step, _copy(network))
        if step - best[1] >= config.patience * config.check_every:
            break
    network.load_state_dict(best[2])
    return network.to("cpu").eval(), best[1], tuple(looks)


def _descend(
    config: AutoformerConfig, network: Network, scaler: Scaler, learn: Examples, *, steps: int, seed: int
) -> Iterator[tuple[int, float]]:
    """AdamW on a one-cycle schedule; yields step and loss."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=False
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps + 1)
    inputs = tensors(learn, scaler, network, device)
    target = torch.from_numpy(learn.target).to(device).unsqueeze(-1)
    for step, places in enumerate(_batches(len(learn.rows), config.batch, steps, seed), 1):
        at = torch.from_numpy(places).to(device)
        network.train()
        loss = network.head.loss(network(*(part[at] for part in inputs)), target[at])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        yield step, float(loss.detach())


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _batches(count: int, size: int, steps: int, seed: int) -> Iterator[Ints]:
    """`steps` batches of origins; each origin once before any comes again."""
    rng = np.random.default_rng(seed)
    pool = rng.permutation(count)
    for _ in range(steps):
        while len(pool) < size:
            pool = np.concatenate([pool, rng.permutation(count)])
        yield pool[:size]
        pool = pool[size:]


def tensors(
    examples: Examples, scaler: Scaler, network: Network, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """The inputs of `Network.forward`."""
    start = examples.published if not network.config.anchored else np.zeros_like(examples.published)
    parts = (examples.values, examples.marks, examples.steps, scaler(examples.features), start[..., None])
    return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts)


def _held_loss(network: Network, scaler: Scaler, held: Examples) -> float:
    """Mean pinball loss on the held-back windows."""
    device = next(network.parameters()).device
    network.eval()
    quantiles = _quantiles(network, tensors(held, scaler, network, device))
    return float(pinball_by_origin(quantiles, held.target).mean())


def pinball_by_origin(
    quantiles: Floats, target: npt.NDArray[np.floating], levels: Sequence[float] = LEVELS
) -> Floats:
    """(N,) mean pinball loss over steps and levels; quantiles (N, H, Q), target (N, H)."""
    tau = np.asarray(levels)
    gap = target[..., None] - quantiles
    return np.asarray(np.maximum(tau * gap, (tau - 1.0) * gap).mean(axis=(1, 2)))


def last_features(network: Network, inputs: tuple[torch.Tensor, ...]) -> Floats:
    """(N, H, U) features of the last layer, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        parts = [network.hidden(*chunk[:4])[0].double().numpy() for chunk in _chunks(inputs)]
    return np.concatenate(parts)


def answer(trained: Trained, examples: Examples) -> Parts:
    """Predictive distribution in the scaled space before it is shared with the naive.

    The processor computes it whatever trained the network, so that a reader gets the same numbers
    everywhere.
    """
    with quiet_torch(trained.seed), torch.no_grad():
        inputs = tensors(examples, trained.scaler, trained.networks[0])
        if trained.method == "mc_dropout":
            return total_variance(_dropout_draws(trained, inputs), LEVELS)
        draws = np.stack([_quantiles(network.eval(), inputs) for network in trained.networks])
        if trained.method == "none" or trained.last_layer is None:
            none = np.zeros(draws.shape[1:3]) if trained.method != "ensemble" else None
            return total_variance(draws, LEVELS, none)
        hidden = last_features(trained.networks[0], inputs)
    draws = draws + trained.last_layer.correction(hidden)[..., None]
    return total_variance(draws, LEVELS, trained.last_layer.variance(hidden))


def _quantiles(network: Network, inputs: tuple[torch.Tensor, ...]) -> Floats:
    """(N, H, Q), in the mode the network is in."""
    with torch.no_grad():
        parts = [network(*chunk)[:, :, 0].double().cpu().numpy() for chunk in _chunks(inputs)]
    return np.concatenate(parts)


def _chunks(inputs: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
    """At most `_CHUNK` origins at a time: what a forward pass keeps is many times its input."""
    for start in range(0, len(inputs[0]), _CHUNK):
        yield tuple(part[start : start + _CHUNK] for part in inputs)


def _dropout_draws(trained: Trained, inputs: tuple[torch.Tensor, ...]) -> Floats:
    """(K, N, H, Q); masks differ per origin and come from the training's seed."""
    network = trained.networks[0].train()
    draws = []
    for k in range(trained.samples):
        rows = []
        for i in range(len(inputs[0])):
            torch.manual_seed((trained.seed + k) % 2**63)
            rows.append(_quantiles(network, tuple(part[i : i + 1] for part in inputs)))
        draws.append(np.concatenate(rows))
    network.eval()
    return np.stack(draws)


def _settle(config: AutoformerConfig, trained: Trained, learn: Examples, held: Examples) -> Trained:
    """Choose the last layer, and the share of the network, by the held-back windows."""
    fixed = None if config.start == "anchored" else 1.0
    quantiles = answer(trained, held).quantiles
    if trained.method == "last_layer":
        pairs = _layer_pairs(trained, learn)
        options = [replace(trained, last_layer=_posterior(pairs, *option)) for option in _OPTIONS]
        answers = [answer(option, held).quantiles for option in options]
        place = int(np.argmin([pinball_by_origin(each, held.target).mean() for each in answers]))
        trained, quantiles = options[place], answers[place]
    share, ratio = choose_share(quantiles, held, fixed)
    return replace(trained, share=share, held_ratio=ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class _LayerPairs:
    """Features (N, U) and residuals (N,) of the last layer, worth `independent` outcomes."""

    features: Floats
    residual: Floats
    independent: float


def _layer_pairs(trained: Trained, part: Examples) -> _LayerPairs:
    """Some steps of some origins: neighbours say the same again."""
    network, steps = trained.networks[0], part.target.shape[1]
    leads = np.unique(np.linspace(0, steps - 1, min(_LEADS, steps)).astype(np.int64))
    span = int(np.ptp(part.rows)) + 1
    if len(part.rows) > _LAYER_ORIGINS:
        part = part.pick(np.linspace(0, len(part.rows) - 1, _LAYER_ORIGINS).astype(np.int64))
    with quiet_torch(trained.seed):
        inputs = tensors(part, trained.scaler, network)
        hidden = last_features(network, inputs)[:, leads]
        median = _quantiles(network, inputs)[:, leads, LEVELS.index(0.5)]
    return _LayerPairs(
        features=hidden.reshape(-1, hidden.shape[-1]),
        residual=(part.target[:, leads] - median).ravel(),
        independent=2.0 * span / steps,
    )


def _posterior(pairs: _LayerPairs, penalty: float, correct: bool) -> LastLayer:
    return fit_last_layer(
        pairs.features,
        pairs.residual,
        overlap=max(1.0, len(pairs.residual) / max(2.0, pairs.independent)),
        penalty=penalty,
        correct=correct,
    )


def choose_share(quantiles: Floats, held: Examples, fixed: float | None = None) -> tuple[float, float]:
    """How far to go from the naive to the network, and the held-back loss relative to the naive there.

    The best of four shares, times ``max(0, 1 - 2 (1 + 4 / b) / t^2)``, t the gain in standard errors of
    the means of b blocks: with a chance gain the naive stays (positive-part shrinkage, James & Stein
    1961; the factor of b because an error from few blocks is itself uncertain).

    Parameters
    ----------
    quantiles
        (N, H, Q) of the network.
    held
        The held-back windows.
    fixed
        A share that is decided already.
    """
    naive = np.broadcast_to(np.asarray(normal_quantiles(LEVELS)), quantiles.shape)
    base = pinball_by_origin(naive, held.target)
    if fixed is not None:
        loss = pinball_by_origin(naive + fixed * (quantiles - naive), held.target)
        return fixed, float(loss.mean() / base.mean())
    gains = [base - pinball_by_origin(naive + s * (quantiles - naive), held.target) for s in _SHARES]
    place = int(np.argmax([gain.mean() for gain in gains]))
    gain = gains[place]
    if gain.mean() <= 0:
        return 0.0, 1.0
    blocks = int(np.clip((np.ptp(held.rows) + 1) // held.target.shape[1], 2, 10))
    means = [part.mean() for part in np.array_split(gain, blocks) if len(part)]
    error = float(np.var(means, ddof=1)) / len(means) + (0.01 * float(base.mean())) ** 2
    share = _SHARES[place] * max(0.0, 1.0 - 2.0 * (1.0 + 4.0 / len(means)) * error / float(gain.mean()) ** 2)
    loss = pinball_by_origin(naive + share * (quantiles - naive), held.target)
    return share, float(loss.mean() / base.mean())
