"""`review` from the command line: words that fit what is on record, the same from ledger and log."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from horizoncast.cli import main
from horizoncast.errors import ConfigError, StoreError, UnknownNameError
from horizoncast.report.texts import LANGUAGES, text
from horizoncast.service.folders import find_places
from horizoncast.service.ledgers import open_ledger
from horizoncast.service.light import read_light
from horizoncast.service.member_settings import HYBRID
from horizoncast.service.review import FIXED, criteria_of
from horizoncast.service.runner import METRICS, run_service
from horizoncast.service.settings import load_settings
from small_target import NAIVES_ONLY, write_target

DOCS = Path(__file__).parents[2] / "docs" / "review.md"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service with runs of past dates and one of now, which scores them."""
    folder = tmp_path_factory.mktemp("root")
    write_target(folder)
    (folder / "config").mkdir()
    (folder / "config" / "base.toml").write_text('target = "toy.toml"\n[rollout]\npeak_mb = 1234.0\n')
    service = folder / "services" / "weekly"
    service.mkdir(parents=True)
    (service / "service.toml").write_text('horizon = "7d"\n[cadence]\ndays = ["fri"]\n')
    settings = load_settings("weekly", root=folder, environ={}, overrides=NAIVES_ONLY)
    for day in ("2023-06-30", "2023-07-11"):
        run_service(settings, as_of=np.datetime64(day))
    run_service(settings)
    return folder


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str, at: Path = root) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--root", str(at)])
        captured = capsys.readouterr()
        return Result(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return call


def test_the_terminal_says_everything_in_the_order_of_the_page(run: Run, root: Path) -> None:
    result = run("review")
    assert result.code == 0, result.err
    keys = ("outcomes", "scores", "calibration", "weights", "parts", "rollout", "changes", "data")
    keys += ("troubles", "costs", "drift", "events")
    places = [result.out.index(f"\n{text(f'review.h.{key}')}\n") for key in keys]
    assert places == sorted(places)
    page = root / "runs" / "review.html"
    assert f"page: {page}" in result.out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_spanish_is_spanish(run: Run) -> None:
    result = run("review", "--lang", "es", "--no-page")
    assert result.code == 0, result.err
    assert text("review.h.scores", "es") in result.out and text("review.h.scores") not in result.out


def test_ledger_and_file_say_the_same_on_the_command_line(run: Run, root: Path) -> None:
    one = json.loads(run("review", "--json").out)
    two = json.loads(run("review", "--json", "--from", str(root / "runs" / METRICS)).out)
    assert (one.pop("source"), two.pop("source")) == ("ledger", METRICS)
    assert one.pop("made") <= two.pop("made")
    assert one == two
    (service,) = one["services"]
    assert one["schema"] == 1 and service["matured"] and service["change"]["leads"]
    assert {line["sample"] for line in service["scores"]} >= {"hindsight"}


def test_as_of_is_what_stood_then(run: Run) -> None:
    then = json.loads(run("review", "--json", "--as-of", "2023-06-30").out)
    (service,) = then["services"]
    assert then["until"] == "2023-06-30"
    assert service["latest"]["as_of"] == "2023-06-30"
    assert service["matured"] == [] and service["actuals"] == []
    assert then["status"][0]["health"] in ("fresh", "degraded")


def test_what_has_not_matured_is_not_yet_known(tmp_path: Path, run: Run) -> None:
    write_target(tmp_path)
    settings = load_settings(
        "forecaster_7d", root=tmp_path, environ={}, overrides={**NAIVES_ONLY, "target": "toy.toml"}
    )
    run_service(settings)
    result = run("review", "--set", "target=toy.toml", at=tmp_path)
    assert result.code == 0, result.err
    assert "none has matured yet" in result.out
    assert text("common.verdict.cannot_be_told") in result.out
    assert text("common.verdict.better") not in result.out.replace(text("review.scores.skill"), "")
    assert f"  {text('review.sample.live')}  " not in result.out
    assert "better\n" not in result.out and "nan" not in result.out.lower().split()


def test_nothing_on_record_is_unknown_and_no_page(tmp_path: Path, run: Run) -> None:
    write_target(tmp_path)
    result = run("review", "--set", "target=toy.toml", at=tmp_path)
    assert result.code == 0
    assert "unknown" in result.out and "fresh" not in result.out.replace("All", "")
    assert not (tmp_path / "runs" / "review.html").exists()


@pytest.mark.parametrize("name", ["forecaster_7d", "weekly"])
def test_criteria_read_lightly_are_those_of_the_settings(root: Path, name: str) -> None:
    place = root if name == "weekly" else Path(__file__).parents[2]
    light = read_light(name, find_places(place), environ={})
    settings = load_settings(name, root=place, environ={})
    assert criteria_of(light) == settings.rollout.as_criteria()
    assert (criteria_of(light).peak_mb == 1234.0) == (name == "weekly")


def test_a_criterion_that_nobody_knows_is_named(root: Path) -> None:
    light = read_light("weekly", find_places(root), overrides={"rollout.peek_mb": "1"}, environ={})
    with pytest.raises(ConfigError, match="peek_mb"):
        criteria_of(light)


def test_a_fused_member_has_no_state_of_its_own() -> None:
    assert FIXED == (HYBRID,)


def test_output_goes_where_it_is_told(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "week.json"
    result = run("review", "--quiet", "--output", str(place))
    assert result.code == 0 and "Scorecard" not in result.out
    assert json.loads(place.read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--weeks", "0"), ConfigError.exit_code, "whole weeks"),
        (("--as-of", "yesterday"), ConfigError.exit_code, "--as-of"),
        (("--from", "nowhere.jsonl"), StoreError.exit_code, "does not exist"),
        (("--service", "weakly"), UnknownNameError.exit_code, "weekly"),
        (("--lang", "fr"), UnknownNameError.exit_code, ", ".join(LANGUAGES)),
        (("--output", "week.pdf"), ConfigError.exit_code, "FILE.html"),
    ],
)
def test_mistakes_are_named(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = run("review", *arguments)
    assert result.code == code
    assert words in result.err


def recipes() -> list[str]:
    """The Python blocks of the page."""
    parts = DOCS.read_text(encoding="utf-8").split("```python\n")[1:]
    return [part.split("```")[0] for part in parts]


@pytest.mark.parametrize("place", range(3))
def test_the_recipes_of_the_docs_run_in_three_lines(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    code = recipes()[place]
    assert len(ast.parse(code).body) == 4  # the import, and three
    monkeypatch.chdir(root / "runs")
    exec(compile(code, str(DOCS), "exec"), {})
    out = capsys.readouterr().out
    assert out.strip() and "Empty" not in out


def test_the_recipes_are_all_of_them() -> None:
    assert len(recipes()) == 3


def test_send_queues_the_week_once_and_a_dead_server_fails_nothing(run: Run, root: Path) -> None:
    mail = ("--set", "notify.mail_to=['ana@example.org']", "--set", "notify.smtp_host=127.0.0.1")
    mail += (
        "--set",
        "notify.smtp_port=9",
        "--set",
        "notify.smtp_security=none",
        "--set",
        "notify.timeout_s=1",
    )
    first, second = (run("review", "--send", "--quiet", *mail) for _ in range(2))
    assert (first.code, second.code) == (0, 0), first.err
    assert "not sent yet" in first.err
    settings = load_settings("weekly", root=root, environ={})
    waiting = [m for m in open_ledger(settings).outbox.all() if m.key.startswith("review/")]
    assert len(waiting) == 1


def test_pages_are_kept_for_the_site_and_weeks_come_from_the_settings(run: Run, root: Path) -> None:
    assert run("review", "--quiet").code == 0
    (kept,) = (root / "runs" / "reviews").glob("*.html")
    assert kept.read_bytes() == (root / "runs" / "review.html").read_bytes()
    until = json.loads(run("review", "--json").out)["until"]
    assert kept.stem == until
    spans = [
        json.loads(run("review", "--json", *more).out)["weeks"]
        for more in ((), ("--set", "review.weeks=3"), ("--set", "review.weeks=3", "--weeks", "2"))
    ]
    assert spans == [1, 3, 2]
    run("review", "--quiet", "--service", "weekly", "--as-of", "2023-07-11")
    assert len(list((root / "runs" / "reviews").glob("*.html"))) == 1  # one service is no review of all
