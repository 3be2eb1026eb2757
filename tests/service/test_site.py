"""The static site: joined, complete, and written only where something changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reviews
from horizoncast.cli import main
from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.report.pages.review import render_review
from horizoncast.report.review.model import StatusLine
from horizoncast.service.reporting import report_of
from horizoncast.service.site import REVIEWS, STATE, SiteReport, build_site
from horizoncast.store.atomic import write_atomic
from horizoncast.store.ledger.ledger import Ledger
from ledger_runs import a_record, commit
from pages import HOSTILE, check

STATUS = [StatusLine(service="forecaster_7d", series="usd_mxn", health="fresh", as_of="2023-07-14")]
HOME = "usd_mxn/forecaster_7d"


def site(ledger: Ledger, root: Path, out: Path) -> SiteReport:
    return build_site(ledger, root, out, STATUS, language="en")


def stamps(out: Path) -> dict[str, int]:
    return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.rglob("*.html")}


def call(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code


def a_review(root: Path, until: str) -> None:
    data = render_review(reviews.review()).encode()
    write_atomic(root / REVIEWS / f"{until}.html", lambda handle: handle.write(data))


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "site"
    ledger = Ledger.at(root)
    run = commit(ledger, root, a_record(0)).run
    first = site(ledger, root, out)
    page = f"{HOME}/{run.run_id}.html"
    assert sorted(first.written) == ["archive.html", "index.html", page, f"{HOME}/index.html"]
    before = stamps(out)
    again = site(ledger, root, out)
    assert (again.written, again.kept) == ((), 4)
    assert stamps(out) == before
    second = commit(ledger, root, a_record(1)).run
    commit(ledger, root, a_record(0, service="forecaster_30d"))
    third = site(ledger, root, out)
    assert page not in third.written and f"{HOME}/{second.run_id}.html" in third.written
    assert {"archive.html", "index.html", f"{HOME}/index.html"} <= set(third.written)
    a_review(root, "2026-10-26")
    fourth = site(ledger, root, out)
    assert sorted(fourth.written) == ["archive.html", "index.html", "reviews/2026-10-26.html"]


def test_a_lost_memory_or_file_is_made_up_for(tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "site"
    ledger = Ledger.at(root)
    run = commit(ledger, root, a_record(0)).run
    files = site(ledger, root, out).written
    (out / HOME / f"{run.run_id}.html").unlink()
    assert site(ledger, root, out).written == (f"{HOME}/{run.run_id}.html",)
    (out / STATE).write_text("{torn")
    assert sorted(site(ledger, root, out).written) == sorted(files)


def test_every_link_leads_to_a_page_and_back(tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "site"
    ledger = Ledger.at(root)
    for hour, service in enumerate(("forecaster_7d", "forecaster_30d", "forecaster_7d")):
        commit(ledger, root, a_record(hour, service=service))
    a_review(root, "2026-10-19")
    a_review(root, "2026-10-26")
    site(ledger, root, out)
    reached, waiting = set(), [out / "index.html"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        page = check(path.read_text(encoding="utf-8"))
        links = [link for link in page.attributes("href") if not re.match(r"#|data:", link)]
        targets = [(path.parent / link).resolve() for link in links]
        assert (path.name == "index.html" and path.parent == out) or out / "index.html" in targets
        waiting += targets
    assert reached == set(out.rglob("*.html")) and len(reached) == 2 + 2 + 3 + 2
    index = check((out / "index.html").read_text(encoding="utf-8"))
    assert index.text.index("2026-10-26") < index.text.index("Review up to 2026-10-19")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_lead_nowhere_else(name: str, tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "site"
    ledger = Ledger.at(root)
    commit(ledger, root, a_record(0, name=name))
    done = site(ledger, root, out)
    assert all((out / file).resolve().is_relative_to(out) for file in done.written)
    for file in done.written:
        page = check((out / file).read_text(encoding="utf-8"))
        assert name in page.text or file == "archive.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs", "site"]


def test_a_run_whose_folder_was_deleted_keeps_its_page(tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "site"
    ledger = Ledger.at(root)
    kept, gone = commit(ledger, root, a_record(0)).run, None
    site(ledger, root, out)
    gone = commit(ledger, root, a_record(1)).run
    for run in (kept, gone):
        ledger.runs.mark_pruned(run.run_id)
    site(ledger, root, out)
    page = check((out / HOME / "index.html").read_text(encoding="utf-8"))
    assert f"{kept.run_id}.html" in page.attributes("href") and f"{gone.run_id}.html" not in page.attributes(
        "href"
    )
    assert "folder deleted" in page.text
    with pytest.raises(StoreError, match="show --run"):
        report_of(ledger, root, gone.run_id, language="en")


def test_a_damaged_folder_is_told_and_stops_nothing(tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "site"
    ledger = Ledger.at(root)
    run = commit(ledger, root, a_record(0)).run
    (root / run.folder / "scores.csv").write_text("changed")
    done = site(ledger, root, out)
    assert len(done.problems) == 1 and "scores.csv" in done.problems[0]
    assert (out / HOME / "index.html").is_file()


def test_a_report_is_made_from_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    ledger = Ledger.at(root)
    run = commit(ledger, root, a_record(0)).run
    page = check(report_of(ledger, root, run.run_id, language="es"))
    assert run.run_id in page.text and "Dónde" not in page.headings[0][1]
    assert ("var" in page.text) and ("ChildError" in page.text)
    with pytest.raises(UnknownNameError, match=run.run_id):
        report_of(ledger, root, run.run_id[:-2], language="en")


def test_the_commands_write_what_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "services" / "forecaster_7d").mkdir(parents=True)
    (tmp_path / "services" / "forecaster_7d" / "service.toml").write_text('horizon = "7d"\n')
    root = tmp_path / "runs"
    run = commit(Ledger.at(root), root, a_record(0)).run
    page = tmp_path / "r.html"
    call("report", run.run_id, "--out", str(page), "--root", str(tmp_path))
    assert run.run_id in check(page.read_text(encoding="utf-8")).text
    call("site", "--root", str(tmp_path), "--quiet")
    assert "4 files written, 0 as they were" in capsys.readouterr().out
    assert (tmp_path / "site" / "index.html").is_file()
