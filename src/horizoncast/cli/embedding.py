"""`embed train` and `embed run`."""

from __future__ import annotations

from pathlib import Path

from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.service.embedding import TrainedHead, read_job, run_embedding, train_embedding


def train(file: Path, common: Common, *, json: bool, quiet: bool) -> None:
    """Train a head and say how often it finds partners it has never seen."""
    from horizoncast.models.chronos.train import progress_bar

    job = read_job(file)
    screen = Screen(as_json=json, quiet=quiet)
    models = _models(common)
    screen.tell(f"{job.name}: {', '.join(job.window.channels)} with {', '.join(job.partner.channels)}")
    if quiet:
        done = train_embedding(job, models)
    else:
        with progress_bar("epoch") as progress:
            done = train_embedding(job, models, progress=progress)
    if json:
        found = done.retrieval
        print_json(
            {
                "name": job.name,
                "windows": done.windows,
                "epochs": len(done.head.looks),
                "temperature": done.head.temperature,
                "retrieval": vars(found) | {"chance1": found.chance1, "chance5": found.chance5},
                "sources": done.sources,
                "trained_until": done.trained_until,
                "head": done.place,
            }
        )
        return
    screen.rows(f"{job.name}: trained", words_of(done))
    screen.paths([("head", str(done.place))])


def run(file: Path, common: Common, *, out: Path | None, json: bool) -> None:
    """Write the vectors of all windows."""
    job = read_job(file)
    place = Path(f"{job.name}.parquet") if out is None else out
    count = run_embedding(job, _models(common), place)
    if json:
        print_json({"name": job.name, "windows": count, "file": place})
        return
    Screen(as_json=False, quiet=False).paths([(f"{count} vectors", str(place))])


def words_of(done: TrainedHead) -> list[tuple[str, str]]:
    """The result in rows."""
    found, looks = done.retrieval, done.head.looks
    best = min(looks, key=lambda look: look.held)
    flags = [flag for side in done.sources.values() for flag in side["flags"]]
    rows = [
        ("pairs", f"{done.windows} windows, {found.pairs} of them, the newest, only measured on"),
        ("own partner first", f"{100 * found.top1:.1f} %, by chance {100 * found.chance1:.1f} %"),
        ("among five", f"{100 * found.top5:.1f} %, by chance {100 * found.chance5:.1f} %"),
        ("median rank", f"{found.median_rank:g} of {found.pairs}"),
        ("epochs", f"{len(looks)}, best {best.step}, temperature {done.head.temperature:.3f}"),
        ("vectors", ", ".join(f"{k}: {side['source']}" for k, side in done.sources.items())),
    ]
    return [*rows, ("flags", ", ".join(dict.fromkeys(flags)))] if flags else rows


def _models(common: Common) -> Path:
    return common.settings(common.places().services()[0]).models_folder
