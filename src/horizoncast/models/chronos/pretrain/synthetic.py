"""Synthetic series, made in batches in torch without a loop over time.

A network that has seen enough series of enough kinds forecasts one it has never seen (Ansari et al., 2024,
section 4.2; Das et al., 2024). The kinds here are those of the product: prices, demand and sensors with
calendars, levels that wander, counts, steps.

Letters in shapes: B series, T sessions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CALENDARS: tuple[tuple[float, float, float], ...] = (
    # share, period, second period (0: none)
    (0.16, 4.0, 0.0),
    (0.15, 7.0, 0.0),
    (0.06, 7.0, 365.25),
    (0.18, 12.0, 0.0),
    (0.07, 24.0, 0.0),
    (0.16, 24.0, 168.0),
    (0.03, 48.0, 336.0),
    (0.14, 52.18, 0.0),
    (0.02, 5.0, 21.0),
    (0.01, 96.0, 0.0),
    (0.03, 0.0, 0.0),  # any period
)
"""Quarters, days (with a year), months, hours (with a week), half hours, weeks, trading sessions."""


class Synthesiser:
    """Batches of synthetic series.

    Parameters
    ----------
    device
        Where the series are made.
    seed
        Of the generator; the same seed gives the same series on one device.
    two_cycles
        Factor on the shares of calendars with two cycles.
    wander
        Share of the structured series whose level is a random walk besides its trend.
    """

    def __init__(self, device: str, seed: int = 0, *, two_cycles: float = 1.0, wander: float = 0.0) -> None:
        import torch

        self.torch = torch
        self.device = device
        self.generator = torch.Generator(device=device)
        self.generator.manual_seed(seed)
        self.wander = wander
        table = torch.tensor(CALENDARS, device=device)
        self._first, self._second = table[:, 1], table[:, 2]
        self._share = table[:, 0] * torch.where(self._second > 0, two_cycles, 1.0)

    # draws -----------------------------------------------------------------------------------------------

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers."""
        return low + (high - low) * self.torch.rand(*shape, device=self.device, generator=self.generator)

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Numbers whose logarithm is uniform."""
        return self.torch.exp(self.uniform(*shape, low=math.log(low), high=math.log(high)))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return self.torch.randn(*shape, device=self.device, generator=self.generator)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """True with a probability."""
        return self.torch.rand(*shape, device=self.device, generator=self.generator) < probability

    def integers(self, high: int, *shape: int) -> Tensor:
        """Integers below `high`."""
        return self.torch.randint(0, high, shape, device=self.device, generator=self.generator)

    def gamma(self, shape: Tensor) -> Tensor:
        """Gamma numbers of unit scale."""
        return self.torch._standard_gamma(shape.contiguous(), generator=self.generator)

    def student(self, count: int, length: int) -> Tensor:
        """Student-t innovations of unit variance, 3 to 60 degrees of freedom per series. Shape (B, T)."""
        freedom = self.log_uniform(count, 1, low=3.0, high=60.0)
        chi = self.gamma((freedom / 2).expand(count, length)) * 2 / freedom
        return self.normal(count, length) / chi.clamp_min(1e-4).sqrt() * ((freedom - 2) / freedom).sqrt()

    def innovations(self, count: int, length: int) -> Tensor:
        """Half Gaussian, half Student. Shape (B, T)."""
        half = count // 2
        return self.torch.cat([self.normal(half, length), self.student(count - half, length)])

    # filters ---------------------------------------------------------------------------------------------

    def filtered(self, shocks: Tensor, response: Tensor) -> Tensor:
        """Causal convolution of every row with its own impulse response. Shape (B, T)."""
        fft, length = self.torch.fft, shocks.shape[-1]
        product = fft.rfft(shocks, 2 * length) * fft.rfft(response, 2 * length)
        found: Tensor = fft.irfft(product, 2 * length)[..., :length]
        return found

    def autoregression(self, shocks: Tensor, phi: Tensor) -> Tensor:
        """x_t = phi x_(t-1) + e_t. Shape (B, T)."""
        steps = self.torch.arange(shocks.shape[-1], device=self.device)
        return self.filtered(shocks, phi**steps)

    def time(self, length: int) -> Tensor:
        """0 .. T-1 as one row. Shape (1, T)."""
        return self.torch.arange(length, device=self.device, dtype=self.torch.float32).view(1, length)

    # kinds -----------------------------------------------------------------------------------------------

    def prices(self, count: int, length: int) -> Tensor:
        """Log random walks with stochastic volatility, fat tails and jumps. Shape (B, T).

        Taylor (1986): log variance is an AR(1).
        """
        torch = self.torch
        phi = 1 - self.log_uniform(count, 1, low=0.003, high=0.2)
        log_vol = self.autoregression(self.normal(count, length), phi) * (1 - phi**2).sqrt()
        spread = self.uniform(count, 1, low=0.0, high=0.8)
        base = self.log_uniform(count, 1, low=0.0005, high=0.03)
        returns = base * torch.exp(spread * log_vol - 0.5 * spread**2) * self.student(count, length)
        jumps = self.chance(0.002, count, length) * self.normal(count, length) * base * 6
        returns = returns + jumps * self.chance(0.2, count, 1)
        path = torch.cumsum(returns, -1).clamp(-5, 5)
        found: Tensor = torch.where(self.chance(0.7, count, 1), torch.exp(path), path)
        return found

    def reverting(self, count: int, length: int) -> Tensor:
        """Prices with an echo of the last return, drift, or a pull to the mean. Shape (B, T)."""
        torch = self.torch
        shocks = self.student(count, length)
        echo = self.uniform(count, 1, low=-0.3, high=0.4) * self.chance(0.5, count, 1)
        shocks = shocks + echo * torch.nn.functional.pad(shocks[:, :-1], (1, 0))
        shocks = shocks + 0.1 * self.normal(count, 1) * self.chance(0.5, count, 1)
        pulled = self.autoregression(shocks, 1 - self.log_uniform(count, 1, low=0.005, high=0.3))
        found: Tensor = torch.where(self.chance(0.6, count, 1), pulled, torch.cumsum(shocks, -1))
        return found

    def periods(self, count: int, length: int) -> tuple[Tensor, Tensor]:
        """First and second period of every series; the second 0 where there is none. Shapes (B, 1).

        A calendar whose longer cycle does not fit twice into the length is rare, and so is one that
        fits more than forty times.
        """
        torch = self.torch
        fits = length / torch.maximum(self._first, self._second).clamp_min(4.0)
        share = self._share * (fits / 2).clamp_max(1.0) ** 2 * torch.where(fits > 40, 0.3, 1.0)
        row = torch.multinomial(share, count, replacement=True, generator=self.generator)
        first, second = self._first[row].view(count, 1), self._second[row].view(count, 1)
        free = self.log_uniform(count, 1, low=3.0, high=130.0)
        return torch.where(first > 0, first, free), second

    def cycle(self, period: Tensor, length: int) -> Tensor:
        """A pattern that repeats: a few harmonics, or a free value per phase. Shape (B, T), unit variance."""
        torch, count, top = self.torch, len(period), 6
        phase = self.time(length) / period + self.uniform(count, 1)
        order = torch.arange(1, top + 1, device=self.device).view(1, top, 1)
        size = self.normal(count, top, 1) / order ** self.uniform(count, 1, 1, low=0.3, high=2.0)
        size = size * (order <= 1 + self.integers(top, count, 1, 1)) * (2 * order <= period.view(count, 1, 1))
        angle = 2 * math.pi * (order * phase.unsqueeze(1) + self.uniform(count, top, 1))
        smooth = (size * torch.cos(angle)).sum(1)
        values = self.normal(count, 64)
        values = torch.where(self.chance(0.2, count, 1), (values > 1.2).float() * 2.5, values)
        slot = torch.floor((phase % 1.0) * period + 1e-3).long().clamp(0, 63)
        rough = torch.gather(values, 1, slot)
        use_rough = self.chance(0.4, count, 1) & (period <= 60)
        return standardised(torch.where(use_rough, rough, smooth))

    def season(self, count: int, length: int) -> Tensor:
        """One cycle, or two that add or multiply; its size may drift. Shape (B, T), unit variance."""
        torch = self.torch
        first, second = self.periods(count, length)
        inner = self.cycle(first, length)
        has_second = second > 0
        week = self.cycle(torch.where(has_second, second, 100.0), length)
        block = self.cycle(torch.where(has_second, (second / first).clamp_min(2.0), 7.0) * first, length)
        share = self.log_uniform(count, 1, low=0.1, high=1.5) * has_second
        added = inner + share * torch.where(self.chance(0.5, count, 1), week, block)
        multiplied = inner * (1 + (0.6 * share * week).clamp(-0.9, 2.0))
        mixed = torch.where(self.chance(0.4, count, 1), multiplied, added)
        sway = torch.cos(
            2
            * math.pi
            * (
                self.time(length) / self.log_uniform(count, 1, low=length / 2, high=4 * length)
                + self.uniform(count, 1)
            )
        )
        return standardised(mixed * (1 + 0.4 * self.uniform(count, 1) * sway * self.chance(0.4, count, 1)))

    def trend(self, count: int, length: int) -> Tensor:
        """Straight, bent, exponential or levelling off. Shape (B, T), unit variance."""
        torch = self.torch
        t = self.time(length) / length
        knots = torch.relu(t.unsqueeze(1) - self.uniform(count, 4, 1)) * self.chance(0.5, count, 4, 1)
        bent = self.normal(count, 1) * t + (self.normal(count, 4, 1) * knots).sum(1)
        growth = torch.exp(self.uniform(count, 1, low=-2.5, high=2.5) * t)
        damped = 1 - torch.exp(-self.log_uniform(count, 1, low=1.0, high=15.0) * t)
        kind = self.integers(4, count, 1)
        path = torch.where(kind == 0, t, torch.where(kind == 1, bent, torch.where(kind == 2, growth, damped)))
        found: Tensor = standardised(path + 1e-6 * t) * torch.where(self.chance(0.5, count, 1), 1.0, -1.0)
        return found

    def coloured(self, count: int, length: int) -> Tensor:
        """Noise with an AR(1) memory, or with a power-law spectrum. Shape (B, T), unit variance."""
        fft = self.torch.fft
        half = count // 2
        memory = self.autoregression(
            self.innovations(half, length), self.uniform(half, 1, low=-0.2, high=0.97)
        )
        frequency = fft.rfftfreq(2 * length, device=self.device).clamp_min(0.5 / length)
        power = self.uniform(count - half, 1, low=-0.2, high=2.4)
        spectrum = fft.rfft(self.innovations(count - half, 2 * length)) * frequency ** (-power / 2)
        return standardised(self.torch.cat([memory, fft.irfft(spectrum, 2 * length)[:, :length]]))

    def structured(self, count: int, length: int) -> Tensor:
        """Trend, season and noise, added or multiplied: demand, load, sensors. Shape (B, T)."""
        torch = self.torch
        season = self.season(count, length) * self.log_uniform(count, 1, low=0.3, high=2.0)
        trend = (
            self.trend(count, length)
            * self.log_uniform(count, 1, low=0.05, high=2.0)
            * self.chance(0.75, count, 1)
        )
        half = count // 2
        noise = torch.cat([self.innovations(half, length), self.coloured(count - half, length)])
        noise = noise * self.log_uniform(count, 1, low=0.02, high=1.0)
        if self.wander > 0:
            walk = standardised(torch.cumsum(self.innovations(count, length), -1))
            size = self.log_uniform(count, 1, low=0.05, high=2.0) * self.chance(self.wander, count, 1)
            trend = trend + walk * size
        added = season + trend + noise
        multiplied = torch.exp((0.5 * trend).clamp(-3, 3) + 0.35 * (season + noise).clamp(-5, 5))
        found: Tensor = torch.where(self.chance(0.6, count, 1), added, multiplied)
        return found

    def levels(self, count: int, length: int) -> Tensor:
        """A level and a slope that wander, with a season in half (Hyndman et al., 2008). Shape (B, T)."""
        shocks = self.innovations(count, length)
        level = self.torch.cumsum(self.log_uniform(count, 1, low=0.01, high=1.0) * shocks, -1)
        gain = self.log_uniform(count, 1, low=1e-4, high=0.02) * self.chance(0.4, count, 1)
        slope = self.torch.cumsum(self.torch.cumsum(gain * shocks, -1), -1)
        season = self.season(count, length) * self.log_uniform(count, 1, low=0.3, high=5.0)
        return level + slope + season * self.chance(0.5, count, 1) + shocks * self.uniform(count, 1)

    def oscillations(self, count: int, length: int) -> Tensor:
        """ARMA by a sum of damped waves. Shape (B, T)."""
        steps = self.time(length)
        response = self.torch.zeros(count, length, device=self.device)
        for _ in range(2):
            decay = 1 - self.log_uniform(count, 1, low=0.003, high=0.9)
            wave = self.log_uniform(count, 1, low=0.01, high=3.0) * self.chance(0.6, count, 1)
            response = response + self.normal(count, 1) * decay**steps * self.torch.cos(wave * steps)
        return self.filtered(self.innovations(count, length), response)

    def counts(self, count: int, length: int) -> Tensor:
        """Poisson and over-dispersed counts, some mostly zero. Shape (B, T)."""
        torch = self.torch
        log_rate = 0.6 * self.season(count, length) * self.chance(0.7, count, 1) + 0.4 * self.coloured(
            count, length
        ) * self.chance(0.5, count, 1)
        rate = torch.exp(log_rate.clamp(-4, 4)) * self.log_uniform(count, 1, low=0.1, high=60.0)
        spread = self.log_uniform(count, 1, low=0.7, high=30.0)
        rate = torch.where(
            self.chance(0.4, count, 1), rate * self.gamma(spread.expand(count, length)) / spread, rate
        )
        drawn = torch.poisson(rate.clamp(0, 1e5), generator=self.generator)
        gone = self.uniform(count, length) < self.uniform(count, 1, high=0.7)
        found: Tensor = torch.where(self.chance(0.25, count, 1) & gone, 0.0, drawn)
        return found

    def steps(self, count: int, length: int) -> Tensor:
        """Levels that jump, switches that flip. Shape (B, T)."""
        torch = self.torch
        jumps = (self.uniform(count, length) < self.log_uniform(count, 1, low=0.002, high=0.03)).float()
        level = torch.cumsum(jumps * self.normal(count, length), -1)
        switch = torch.sign(torch.cos(math.pi * torch.cumsum(jumps, -1)))
        path = torch.where(self.chance(0.3, count, 1), switch, level)
        found: Tensor = path + self.normal(count, length) * self.log_uniform(count, 1, low=0.003, high=0.3)
        return found

    # batches ---------------------------------------------------------------------------------------------

    def batch(self, count: int, length: int, shares: tuple[tuple[str, float], ...]) -> Tensor:
        """Series of all kinds in the given shares, standardised. Shape (B, T)."""
        torch = self.torch
        parts, left = [], count
        for position, (kind, share) in enumerate(shares):
            size = left if position == len(shares) - 1 else min(left, round(count * share))
            left -= size
            make: Callable[[int, int], Tensor] = getattr(self, kind)
            if size:
                parts.append(make(size, length))
        return standardised(torch.nan_to_num(torch.cat(parts), nan=0.0, posinf=1e4, neginf=-1e4))

    def disturbed(self, values: Tensor) -> Tensor:
        """A few series get outliers, a level shift, rounding or a ceiling. Shape (B, T)."""
        torch, (count, length) = self.torch, values.shape
        hit = self.uniform(count, length) < self.log_uniform(count, 1, low=0.001, high=0.02)
        values = values + self.student(count, length) * 2 * hit * self.chance(0.05, count, 1)
        late = self.time(length) > self.uniform(count, 1) * length
        values = values + self.normal(count, 1) * late * self.chance(0.04, count, 1)
        grid = self.log_uniform(count, 1, low=0.01, high=0.7)
        found: Tensor = torch.where(self.chance(0.04, count, 1), torch.round(values / grid) * grid, values)
        return found

    def with_gaps(self, context: Tensor) -> Tensor:
        """Contexts of many lengths, some with missing values: NaN. Shape (B, T)."""
        torch, (count, length) = self.torch, context.shape
        keep = self.log_uniform(count, 1, low=min(20.0, length - 1), high=float(length))
        short = self.chance(0.4, count, 1) & (self.time(length) < length - keep)
        lost = (self.uniform(count, length) < self.log_uniform(count, 1, low=0.01, high=0.3)) & self.chance(
            0.06, count, 1
        )
        found: Tensor = torch.where(short | lost, torch.nan, context)
        return found


def standardised(values: Tensor) -> Tensor:
    """Rows to mean 0 and variance 1; a constant row becomes 0. Shape (B, T)."""
    return (values - values.mean(-1, keepdim=True)) / values.std(-1, keepdim=True).clamp_min(1e-6)
