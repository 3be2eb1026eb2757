"""Settings of the Autoformer member."""

from __future__ import annotations

from dataclasses import dataclass, field

from horizoncast.errors import ConfigError
from horizoncast.models.base import MemberConfig

VARIANTS = ("quantile", "bayesian", "hierarchical")
STARTS = ("anchored", "published")
DEVICES = ("auto", "cpu", "cuda")
METHODS = ("last_layer", "ensemble", "mc_dropout", "none")
_MULTI_SCALE = (7, 13, 25, 49)


@dataclass(frozen=True, kw_only=True)
class AutoformerConfig(MemberConfig):
    """Settings of `Autoformer`.

    Parameters
    ----------
    variant
        ``quantile``: non-crossing quantile head, pinball loss. ``bayesian``: Gaussian head, negative
        log likelihood. ``hierarchical``: the quantile head on a decomposition with several kernels.
    start
        ``anchored``: untrained, the network is the naive forecast. ``published``: the trend starts at
        the mean of the context and the heads at random weights, as in the paper.
    uncertainty
        How the epistemic part is found: closed-form Bayesian last layer, seed ensemble, Monte Carlo
        dropout, or not at all.
    context, label
        Sessions the encoder sees, and of them those the decoder starts from.
    d_model, feed_forward, encoder_layers, decoder_layers, dropout
        Size of the network.
    kernel
        Sessions of the moving average of the series decomposition.
    factor
        c of the paper: ``c log L`` delays are aggregated.
    steps, check_every, patience
        Most training steps (0 answers with the naive, for comparison; long horizons take fewer), steps
        between looks at the held-back windows, and looks without a gain after which training stops.
    batch, learning_rate, weight_decay
        Of AdamW; the rate rises, then falls along half a cosine.
    origins, min_origins
        Most training origins of a series, evenly drawn when the window holds more; fewest that a network
        is trained on: with fewer only its head is, in closed form.
    held_back
        Share of the window, its newest part, that chooses the step and the share of the network.
    seeds, samples
        Networks of the ensemble; passes of Monte Carlo dropout.
    warm
        Whether the head starts at the closed-form answer where that is better than the naive.
    panel
        Whether series related to the target are learnt from.
    device
        ``auto`` trains on an accelerator that torch can use, ``cpu`` and ``cuda`` where they say. The
        processor answers in any case.
    checkpoints
        Folder of trained networks that later runs reuse; empty keeps none.
    """

    window: int = 3000
    min_train: int = 40
    refit_every: int = 240
    variant: str = "quantile"
    start: str = "anchored"
    uncertainty: str = "last_layer"
    context: int = 96
    label: int = 24
    d_model: int = 32
    feed_forward: int = 64
    encoder_layers: int = 1
    decoder_layers: int = 1
    dropout: float = 0.1
    kernel: int = 25
    factor: float = 1.0
    steps: int = 150
    check_every: int = 25
    patience: int = 3
    batch: int = 32
    learning_rate: float = 0.003
    weight_decay: float = 0.05
    origins: int = 800
    min_origins: int = 60
    held_back: float = 0.2
    warm: bool = True
    panel: bool = True
    device: str = "auto"
    seeds: int = 3
    samples: int = 20
    checkpoints: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        _one_of("variant", self.variant, VARIANTS)
        _one_of("start", self.start, STARTS)
        _one_of("uncertainty", self.uncertainty, METHODS)
        _one_of("device", self.device, DEVICES)
        for name in ("context", "d_model", "feed_forward", "encoder_layers", "decoder_layers", "check_every"):
            _between(name, getattr(self, name), 1, 4096)
        for name in ("label", "steps", "patience"):
            _between(name, getattr(self, name), 0, 10000)
        for name in ("kernel", "batch", "seeds", "samples", "origins", "min_origins"):
            _between(name, getattr(self, name), 1, 100_000)
        _between("dropout", self.dropout, 0.0, 0.9)
        _between("held_back", self.held_back, 0.05, 0.5)
        _between("factor", self.factor, 0.1, 10.0)
        _between("learning_rate", self.learning_rate, 1e-6, 1.0)
        _between("weight_decay", self.weight_decay, 0.0, 1.0)
        if self.label > self.context:
            raise ConfigError(
                "the label is part of the context", value=self.label, allowed=f"<= {self.context}"
            )

    @property
    def kernels(self) -> tuple[int, ...]:
        """Kernels of the decomposition: one, or several for the hierarchical variant."""
        return _MULTI_SCALE if self.variant == "hierarchical" else (self.kernel,)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"autoformer {name}", value=repr(value), allowed=", ".join(allowed))


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"autoformer {name} is out of range", value=value, allowed=f"{low:g} to {high:g}")
