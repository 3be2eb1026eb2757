"""`schedule preview`: real dates, and warnings of the usual traps."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from due_services import light, write_services
from horizoncast.service.schedule import Preview, preview

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def previewed(
    folder: Path, *, more: str = "", days: tuple[str, ...] = ("fri",), country: str = ""
) -> Preview:
    write_services(folder, more=more, days=days, calendar=f'country = "{country}"\n' if country else "")
    (settings,) = light(folder)
    return preview(settings, FIRST, 365)


def test_real_dates_with_the_data_they_stand_on(tmp_path: Path) -> None:
    found = previewed(tmp_path)
    assert len(found.moments) == 52
    first = found.moments[0]
    assert (f"{first.due.local:%Y-%m-%d %H:%M}", first.session, first.note) == (
        "2026-01-02 07:00",
        "2026-01-01",
        "",
    )


def test_warns_of_the_hour_that_moves_in_utc(tmp_path: Path) -> None:
    warnings = previewed(tmp_path).warnings
    assert "the clock changes before 2026-04-10: 07:00 America/Santiago is 11:00 UTC from then on" in warnings
    assert "the clock changes before 2026-09-11: 07:00 America/Santiago is 10:00 UTC from then on" in warnings


def test_warns_of_a_midnight_that_does_not_exist(tmp_path: Path) -> None:
    found = previewed(tmp_path, more='time = "00:00"', days=("sun",))
    (odd,) = [m for m in found.moments if "does not exist" in m.note]
    assert f"{odd.due.local:%Y-%m-%d}" == "2026-09-06"
    assert "00:00 does not exist on this day: 01:00" in odd.note
    assert any("missing or doubled on 1 of these days" in w for w in found.warnings)


def test_warns_of_holidays_that_bring_nothing_new(tmp_path: Path) -> None:
    found = previewed(tmp_path, days=("mon", "tue", "wed", "thu", "fri"), country="CL")
    notes = {f"{m.due.local:%m-%d}": m.note for m in found.moments if m.note}
    assert "holiday of the series" in notes["09-18"]
    assert "no new session" in notes["09-21"]
    assert any("bring no new session" in w for w in found.warnings)


def test_warns_of_cron_where_the_cadence_is_a_first_weekday(tmp_path: Path) -> None:
    found = previewed(tmp_path, more='weeks = "first"', days=("tue",))
    assert len(found.moments) == 12
    (warning,) = [w for w in found.warnings if "cron cannot say this" in w]
    assert "124 of these 365 days instead of 12" in warning


@pytest.mark.parametrize("kind", ["monthly", "quarterly"])
def test_a_series_slower_than_its_cadence_is_named(tmp_path: Path, kind: str) -> None:
    write_services(tmp_path)
    file = tmp_path / "toy.toml"
    file.write_text(file.read_text().replace('kind = "business"', f'kind = "{kind}"'))
    (settings,) = light(tmp_path)
    found = preview(settings, FIRST, 365)
    assert sum(m.new for m in found.moments) == (12 if kind == "monthly" else 4)
