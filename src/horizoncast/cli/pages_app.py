"""Commands that make pages of what is on record: `report` and `site`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from horizoncast.cli.arguments import Config, EnvFile, Json, Quiet, Root, Sets

if TYPE_CHECKING:
    from horizoncast.cli.ticking import Where
    from horizoncast.report.review.model import StatusLine

SITE = "site"


def add_to(app: typer.Typer) -> None:
    """Enter the commands."""
    app.command("report")(report)
    app.command("site")(site)


def report(
    run: Annotated[str, typer.Argument(help="Id of a published run, as `show --runs` lists them.")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; default: RUN.html, here.")
    ] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="LANGUAGE", help="en or es; overrides review.language.")
    ] = None,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Write the report of a run as one HTML page, from its folder."""
    from horizoncast.cli.options import Common
    from horizoncast.cli.recorded import keeping
    from horizoncast.cli.screen import Screen
    from horizoncast.errors import StoreError
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.reporting import report_of
    from horizoncast.store.atomic import write_atomic

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    settings = keeping(common, None)
    html = report_of(
        open_ledger(settings), settings.output_folder, run, language=lang or settings.review.language
    )
    place = Path(f"{run}.html") if out is None else out
    try:
        write_atomic(place, lambda handle: handle.write(html.encode()))
    except OSError as error:
        raise StoreError(f"cannot write {place}", value=error.strerror or str(error)) from error
    Screen(as_json=False, quiet=False).paths([("report", str(place.absolute()))])


def site(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The folder; default: site, in the root.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Bring a static folder of all reports and reviews up to date: index, services, archive."""
    from horizoncast.cli.options import Common
    from horizoncast.cli.recorded import keeping
    from horizoncast.cli.screen import Screen, print_json
    from horizoncast.cli.ticking import Where
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.site import build_site

    where = Where(sets=tuple(set_ or ()), root=root, config=config, env_file=env_file)
    settings = keeping(Common.of(sets=set_, root=root, config=config, env_file=env_file), None)
    screen = Screen(as_json=json, quiet=quiet)
    folder = settings.places.root / SITE if out is None else out.absolute()
    done = build_site(
        open_ledger(settings),
        settings.output_folder,
        folder,
        _status(where),
        language=settings.review.language,
        tell=screen.tell,
    )
    if json:
        print_json(done)
        return
    for problem in done.problems:
        screen.complain(f"no report: {problem}")
    screen.out.print(f"{len(done.written)} files written, {done.kept} as they were")
    screen.paths([("site", str(done.index))])


def _status(where: Where) -> list[StatusLine]:
    """How services stand, as pages tell it."""
    from horizoncast.report.review.model import StatusLine
    from horizoncast.service.status import statuses

    return [
        StatusLine(
            service=s.service,
            series=s.series,
            health=s.health.value,
            as_of=s.as_of,
            expected=s.expected,
            due=s.due,
            reason=s.reason,
        )
        for s in statuses(where.services())
    ]
