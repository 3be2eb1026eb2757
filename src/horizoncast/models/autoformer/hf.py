"""A drop-in for code that builds ``HFBayesianAutoformer(configs)``: the same network, other clothes.

Letters in shapes: B batch, L seq_len, H pred_len, C channels, O outputs (c_out), Q levels, K passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from horizoncast.errors import ConfigError
from horizoncast.models.autoformer.heads import pinball
from horizoncast.models.autoformer.network import Network, NetworkConfig
from horizoncast.models.autoformer.uncertainty import at_levels, variance_of

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_NORMAL = {0.68: 0.994458, 0.95: 1.959964}
_DEFAULTS: dict[str, Any] = {
    "d_model": 32, "d_ff": 64, "e_layers": 1, "d_layers": 1, "moving_avg": 25, "factor": 1.0,
    "dropout": 0.1, "quantile_levels": _LEVELS,
}  # fmt: skip


class HFBayesianAutoformer(nn.Module):
    """The Autoformer on raw channels, anchored at the last value of each, with Monte Carlo dropout.

    Parameters
    ----------
    configs
        An object with ``enc_in, dec_in, c_out, seq_len, pred_len`` and, if wanted, ``label_len, d_model,
        d_ff, e_layers, d_layers, moving_avg, factor, dropout, quantile_levels``. It is read, never
        written. The outputs are the first ``c_out`` channels.

    Raises
    ------
    ConfigError
        When a required attribute is missing, or sizes contradict each other.
    """

    def __init__(self, configs: Any) -> None:
        super().__init__()
        needed = ("enc_in", "dec_in", "c_out", "seq_len", "pred_len")
        absent = [name for name in needed if not hasattr(configs, name)]
        if absent:
            raise ConfigError("configs lack attributes", value=", ".join(absent), allowed=", ".join(needed))
        if not 1 <= configs.c_out <= min(configs.enc_in, configs.dec_in):
            raise ConfigError("c_out must not exceed enc_in and dec_in", value=configs.c_out)
        read = {name: getattr(configs, name, default) for name, default in _DEFAULTS.items()}
        asked = sorted({float(level) for level in read["quantile_levels"]})
        if not asked or not 0 < asked[0] <= asked[-1] < 1:
            raise ConfigError("quantile_levels lie between 0 and 1", value=asked)
        self.quantile_levels = tuple(asked)
        self.levels = tuple(sorted({*asked, *_LEVELS}))
        kernel = read["moving_avg"]
        self.network = Network(
            NetworkConfig(
                channels=configs.enc_in,
                marks=0,
                features=0,
                context=configs.seq_len,
                label=min(configs.seq_len, int(getattr(configs, "label_len", configs.seq_len // 2))),
                steps=configs.pred_len,
                levels=self.levels,
                d_model=read["d_model"],
                feed_forward=read["d_ff"],
                encoder_layers=read["e_layers"],
                decoder_layers=read["d_layers"],
                kernels=tuple(kernel) if isinstance(kernel, Sequence) else (kernel,),
                factor=read["factor"],
                dropout=read["dropout"],
                outputs=configs.c_out,
            )
        )

    def quantiles(self, x_enc: Tensor) -> Tensor:
        """(B, L, C) to (B, H, O, Q) in the unit of the input; Q counts `levels`."""
        c = self.network.config
        if x_enc.shape[1:] != (c.context, c.channels):
            raise ConfigError(
                "input does not fit the network",
                value=tuple(x_enc.shape),
                allowed=f"(B, {c.context}, {c.channels})",
            )
        last = x_enc[:, -1:]
        moves = x_enc.diff(dim=1)
        scale = moves.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-8)
        scaled = (x_enc - last) / (scale * c.steps**0.5)
        none = x_enc.new_zeros((x_enc.shape[0], c.context, 0))
        ahead = x_enc.new_zeros((x_enc.shape[0], c.steps, 0))
        start = x_enc.new_zeros((x_enc.shape[0], c.steps, c.outputs))
        inner: Tensor = self.network(scaled, none, ahead, ahead, start)
        lead = torch.arange(1, c.steps + 1, device=x_enc.device, dtype=x_enc.dtype).sqrt()
        spread = scale[:, :, : c.outputs] * lead[None, :, None]
        return last[:, :, : c.outputs, None] + spread[..., None] * inner

    def forward(self, x_enc: Tensor, *ignored: Any) -> Tensor:
        """(B, L, C) to the median (B, H, O).

        Marks and decoder inputs that callers of the published code pass are accepted and not used: the
        decoder starts from the context.
        """
        return self.quantiles(x_enc)[..., self.levels.index(0.5)]

    def loss(self, x_enc: Tensor, target: Tensor) -> Tensor:
        """Mean pinball loss; `target` is (B, H, O)."""
        return pinball(self.quantiles(x_enc), target, self.levels).mean()

    def uncertainty(self, x_enc: Tensor, *, passes: int = 20, seed: int = 0) -> dict[str, Tensor]:
        """Prediction, standard deviation and intervals, by the law of total variance over dropout masks.

        Returns
        -------
        dict
            ``prediction, uncertainty, epistemic, aleatoric`` (B, H, O), the last three standard
            deviations; ``lower_68, upper_68, lower_95, upper_95``; ``q10 q25 q50 q75 q90``.
        """
        was_training = self.training
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.train()
            draws = torch.stack([self.quantiles(x_enc) for _ in range(passes)])
            self.train(was_training)
        return self._summary(draws)

    def _summary(self, draws: Tensor) -> dict[str, Tensor]:
        """(K, B, H, O, Q) to what `uncertainty` returns."""
        values = draws.double().cpu().numpy()
        middle = self.levels.index(0.5)
        aleatoric = torch.from_numpy(variance_of(values, self.levels).mean(axis=0)).to(draws)
        epistemic = draws[..., middle].var(dim=0, correction=1 if len(draws) > 1 else 0)
        mean = draws.mean(dim=0)
        median = mean[..., middle]
        total = (aleatoric + epistemic).sqrt()
        factor = total / aleatoric.clamp_min(1e-12).sqrt()
        wide = median[..., None] + factor[..., None] * (mean - median[..., None])
        out = {
            "prediction": median,
            "uncertainty": total,
            "epistemic": epistemic.sqrt(),
            "aleatoric": aleatoric.sqrt(),
        }
        for share, width in _NORMAL.items():
            out[f"lower_{share:.0%}".rstrip("%")] = median - width * total
            out[f"upper_{share:.0%}".rstrip("%")] = median + width * total
        for level in _LEVELS:
            found = at_levels(wide.double().cpu().numpy(), self.levels, (level,))[..., 0]
            out[f"q{level * 100:.0f}"] = torch.from_numpy(found).to(draws)
        return out
