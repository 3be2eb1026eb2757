"""What `review` does: the week on the terminal, as JSON, or as a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from horizoncast.cli.screen import Screen, print_json
from horizoncast.cli.ticking import Where
from horizoncast.errors import ConfigError, StoreError
from horizoncast.service.review import ReviewRequest, weekly_review

if TYPE_CHECKING:
    from horizoncast.report.review.model import Review
    from horizoncast.service.light import LightSettings

PAGE = "review.html"
REVIEWS = "reviews"
"""Folder of past reviews beside the results; `site` shows them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How the review is told.

    Parameters
    ----------
    output
        File of the page; a name that ends in ``.json`` gets the JSON. None takes ``review.html`` in the
        output folder of the first service.
    language
        Of the texts; None takes the setting ``review.language`` of the first service.
    page
        Whether a page is written where no file was named.
    send
        Whether it goes to the channels of the settings, once a week.
    json, quiet
        JSON on stdout and nothing else; the page alone.
    """

    output: Path | None
    language: str | None
    page: bool
    send: bool
    json: bool
    quiet: bool


def review(where: Where, request: ReviewRequest, wanted: Wanted) -> None:
    """Make the review, show it, and write the page."""
    services = where.services()
    if request.service is not None:
        where.places.require_service(request.service)
    language = wanted.language or services[0].language
    found = weekly_review(services, request)
    if wanted.json:
        print_json(found)
    elif not wanted.quiet:
        show(found, language)
    place = wanted.output or services[0].output_folder / PAGE
    asked_for = wanted.output is not None or wanted.send
    if asked_for or (wanted.page and not wanted.json and found.services):
        data = write(found, place, language)
        if wanted.output is None and request.service is None and request.file is None:
            keep(services[0].output_folder / REVIEWS / f"{found.until}.html", data)
        if not wanted.json:
            Screen(as_json=False, quiet=False).paths([("page", str(place))])
    if wanted.send:
        send(found, services[0], place, quiet=wanted.json or wanted.quiet)


def send(found: Review, settings: LightSettings, place: Path, *, quiet: bool) -> None:
    """Queue it for every channel that has not had this week's, and send what is due; problems are told."""
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.reviewing import send_review
    from horizoncast.service.settings import load_keeping

    keeping = load_keeping(settings.service, settings.places, overrides=settings.overrides)
    new, done = send_review(open_ledger(keeping), keeping, found, place=place)
    screen = Screen(as_json=True, quiet=quiet)
    screen.tell(f"{new} new messages, {done.sent} sent")
    for problem in done.problems:
        screen.complain(f"not sent yet: {problem}")


def show(found: Review, language: str) -> None:
    """The review on the terminal."""
    from horizoncast.report.pages.terminal import text_sections

    screen = Screen(as_json=False, quiet=False)
    for section in text_sections(found, language):
        screen.out.print(f"\n{section.heading}", style="bold", markup=False, soft_wrap=True)
        for block in section.blocks:
            if block.rows:
                screen.table(block.title, block.head, block.rows)
            elif block.title:
                screen.out.print(block.title, style="bold", markup=False, soft_wrap=True)
            for line in block.lines:
                screen.out.print(f"  {line}", markup=False, soft_wrap=True)


def write(found: Review, place: Path, language: str) -> bytes:
    """The page, or the JSON where the name says so; replaced in one step, and returned.

    Raises
    ------
    StoreError
        When it cannot be written.
    """
    from horizoncast.store.plain import json_file

    if place.suffix == ".json":
        data = json_file(found)
    elif place.suffix in (".html", ".htm"):
        from horizoncast.report.pages.review import render_review

        data = render_review(found, language).encode()
    else:
        raise ConfigError("a review is a page or JSON", value=place, allowed="FILE.html or FILE.json")
    keep(place, data)
    return data


def keep(place: Path, data: bytes) -> None:
    """Write a file in one step.

    Raises
    ------
    StoreError
        When it cannot be written.
    """
    from horizoncast.store.atomic import write_atomic

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, lambda handle: handle.write(data))
    except OSError as error:
        raise StoreError(f"cannot write {place}", value=error.strerror or str(error)) from error


def request_of(
    *, weeks: int | None, as_of: str | None, service: str | None, target: Path | None, file: Path | None
) -> ReviewRequest:
    """What is asked for, as typed.

    Raises
    ------
    ConfigError
        When the date cannot be read, or the target's file.
    """
    series = None
    if target is not None:
        from horizoncast.data.target_file import read_target

        series = read_target(target).name
    try:
        until = None if as_of is None else str(date.fromisoformat(as_of))
    except ValueError as error:
        raise ConfigError("--as-of cannot be read", value=repr(as_of), allowed="2024-06-28") from error
    return ReviewRequest(weeks=weeks, as_of=until, service=service, series=series, file=file)
