"""What a gate gains on later windows, with the embedding among its signals and without.

    python benchmarks/hybrid_gates.py [--beds ecb14 clp structured]

Reads the banks that ``hybrid.py --fill`` left and learns a gate on each cell of hybrid_cells.toml as
``hybrid train`` would: again and again as time goes on, judged on the stretch that follows. Once its contexts
hold what Chronos' encoder saw (novelty, and the vector along its three main axes), once they do not. Prints
the gain of each cell in per cent of the loss and the means over beds; a part that is kept is starred.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pandas as pd

from beds import Cell
from horizoncast.bank import Embeddings
from horizoncast.engine.hybrid_rows import learning_rows
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.embedding import embeddings_of
from horizoncast.models.chronos.pipeline import get_pipeline
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.hybrid.gate import train_gate
from hybrid import bank_of, wanted_cells

SLICE = 40
"""Newest cutoffs of a decision's slice, as shipped."""


def gains_of(cell: Cell) -> dict[str, object] | None:
    """Gains in per cent without and with the embedding; None where a cell has no rows to learn from."""
    series = cell.load(cell.series)
    bank = bank_of(cell, series, fill=False)
    if bank is None:
        return None
    histories = [series.until(cutoff) for cutoff in bank.cutoffs]
    found = embeddings_of(get_pipeline(ChronosConfig().folder()), histories)
    rows = learning_rows(series, replace(bank, embeddings=Embeddings.of(found)), HybridConfig(), SLICE)
    if rows is None:
        return None
    out: dict[str, object] = {"bed": cell.bed, "cell": cell.name}
    for name, used in (("without", replace(rows, embeddings=None)), ("with", rows)):
        _, ruling = train_gate([used.gate_rows()], strength=0.0)
        out |= {name: 100 * ruling.gain, f"{name}_kept": ruling.kept}
    return out


def main() -> None:
    """Learn, print, average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--beds", nargs="*", default=["ecb14", "clp", "structured"])
    options = parser.parse_args()
    rows = []
    for cell in wanted_cells(options.beds):
        found = gains_of(cell)
        if found is None:
            print(f"{cell.name}: no bank or too few rows")
            continue
        rows.append(found)
        told = (
            f"{name} {found[name]:+.2f} %{'*' * bool(found[f'{name}_kept'])}" for name in ("without", "with")
        )
        print(f"{cell.name}: {', '.join(told)}", flush=True)
    frame = pd.DataFrame(rows)
    means = frame.groupby("bed")[["without", "with"]].mean()
    print(means.to_string(float_format=lambda v: f"{v:+.2f}"))
    print(f"kept: {int(frame['without_kept'].sum())} without, {int(frame['with_kept'].sum())} with")


if __name__ == "__main__":
    main()
