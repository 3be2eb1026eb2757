"""Chronos and the Bayesian Autoformer as one forecaster: who counts for how much, and where the doubt lies.

    python examples/hybrid.py [TARGET.toml] [HORIZON]

By default the dollar in Mexican pesos, seven sessions ahead, on the rates that come with the package. Needs
the extra `[neural]`; with no Chronos weights on disk the small checkpoint that ships is asked.
"""

import sys
from pathlib import Path

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine.chronosx import ChronosXBayesianHybrid
from horizoncast.models.hybrid.config import HybridConfig

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Forecast, and say what the forecast was made of."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "config" / "targets" / "usdmxn.toml"
    horizon = sys.argv[2] if len(sys.argv) > 2 else "7d"
    series = load_series(read_target(target)).series
    found = ChronosXBayesianHybrid(HybridConfig(deployment="full")).forecast(series, horizon)
    low, high = found.forecast.interval(0.8)
    print(f"{series.name}, {series.unit}, from {str(found.forecast.cutoff)[:10]}")
    parts = found.fusion.uncertainty
    epistemic, aleatoric, between = parts.shares
    known = epistemic.any()  # the Autoformer says so where it follows its network
    for h, date in enumerate(found.forecast.dates):
        parameters = f"{epistemic[h]:.0%}" if known else "not known"
        print(
            f"{str(date)[:10]}  {found.forecast.point[h]:.4g}  80 %: {low[h]:.4g} to {high[h]:.4g}  "
            f"chronos {found.fusion.weights[0, h]:.0%}  variance: parameters {parameters}, "
            f"noise {aleatoric[h]:.0%}, between the parts {between[h]:.0%}"
        )
    print("WQL at replayed cutoffs, each decided from what had matured by then:")
    for name in ("chronos", "autoformer", "hybrid", found.result.decision.best_naive):
        print(f"  {name:14} {found.result.score(name, 'wql'):.5f}")


if __name__ == "__main__":
    main()
