import dataclasses

import numpy as np
import pytest

from horizoncast.bank import Bank, Embeddings, build_bank, continue_bank
from horizoncast.calendar import as_stamp
from horizoncast.errors import BankError, DataError, UnknownNameError
from horizoncast.forecast import Embedding, Failure, Forecast, ModelIdentity
from horizoncast.horizon import Horizon
from horizoncast.series import Scale, Series
from support import make_series

LEVELS = (0.1, 0.5, 0.9)
H = Horizon(steps=3)
SERIES = make_series(np.arange(1.0, 31.0), scale=Scale.LOG)


def forecast(row: int, *, member: str = "a", source: Series = SERIES, **changes) -> Forecast:
    cutoff = source.dates[row]
    values = {
        "series": source.name,
        "unit": source.unit,
        "member": member,
        "cutoff": cutoff,
        "dates": source.session_dates(cutoff, H.steps),
        "levels": LEVELS,
        "quantiles": source.values[row] * np.array([[0.5, 1.0, 2.0]] * H.steps),
        "identity": ModelIdentity(id=member),
    }
    return Forecast(**{**values, **changes})


def failure(row: int | None, member: str = "b") -> Failure:
    return Failure(member=member, cutoff=None if row is None else SERIES.dates[row], code="X", reason="x")


def bank_of(rows, *, series: Series = SERIES, until=None) -> Bank:
    return build_bank(series, H, 5, LEVELS, rows, until=until)


def plain(windows: int = 4, members: tuple[str, ...] = ("a", "b"), **changes) -> Bank:
    shape = (len(members), windows, H.steps, len(LEVELS))
    cutoffs = SERIES.dates[5 * np.arange(windows)]
    values = {
        "members": members,
        "cutoffs": cutoffs,
        "ends": SERIES.dates[5 * np.arange(windows) + H.steps],
        "horizon": H,
        "stride": 5,
        "levels": LEVELS,
        "scale": Scale.LOG,
        "quantiles": np.arange(np.prod(shape), dtype=float).reshape(shape),
        "actuals": np.arange(windows * H.steps, dtype=float).reshape(windows, -1),
        "asked": np.ones(shape[:2], dtype=bool),
    }
    return Bank(**{**values, **changes})


# build_bank


def test_numbers_are_in_the_scale_and_masks_say_who_answered():
    rows = {"a": [forecast(20), forecast(10), forecast(15)], "b": [forecast(10, member="b"), failure(15)]}
    bank = bank_of(rows)
    assert bank.members == ("a", "b")
    assert np.array_equal(bank.cutoffs, SERIES.dates[[10, 15, 20]])
    assert np.array_equal(bank.ends, SERIES.dates[[13, 18, 23]])
    assert bank.asked.tolist() == [[True] * 3, [True, True, False]]
    assert bank.answered.tolist() == [[True] * 3, [True, False, False]]
    np.testing.assert_allclose(bank.median[0, 1], np.log(SERIES.values[15]))
    np.testing.assert_allclose(bank.actuals[1], np.log(SERIES.values[16:19]))
    assert np.isnan(bank.quantiles[1, 1:]).all()
    assert bank.n_eff == 3.0


def test_a_failure_of_the_member_as_a_whole_marks_every_cutoff_as_asked():
    bank = bank_of({"a": [forecast(10), forecast(15)], "b": [failure(None)]})
    assert bank.asked.all()
    assert bank.answered.tolist() == [[True, True], [False, False]]


def test_a_member_that_answered_before_its_process_died_keeps_its_rows():
    bank = bank_of({"a": [forecast(10), forecast(15)], "b": [forecast(15, member="b"), failure(None)]})
    assert bank.answered.tolist() == [[True, True], [False, True]]
    assert bank.asked.all()


def test_cutoffs_in_another_unit_are_the_same_cutoffs():
    day = SERIES.dates[10].astype("datetime64[D]")
    rows = {"a": [forecast(10)], "b": [Failure(member="b", cutoff=day, code="X", reason="x")]}
    assert bank_of(rows).windows == 1


def test_outcomes_that_have_not_come_or_lie_after_a_replay_date_are_unknown():
    bank = bank_of({"a": [forecast(20), forecast(28), forecast(29)]})
    assert np.isfinite(bank.actuals).tolist() == [[True] * 3, [True, False, False], [False] * 3]
    early = bank_of({"a": [forecast(20)]}, until=SERIES.dates[22])
    assert np.isfinite(early.actuals).tolist() == [[True, True, False]]


def test_a_filled_session_is_no_outcome():
    observed = np.ones(30, bool)
    observed[16] = False
    kept = {f.name: getattr(SERIES, f.name) for f in dataclasses.fields(SERIES) if f.init}
    series = Series(**{**kept, "observed": observed})
    bank = bank_of({"a": [forecast(15, source=series)]}, series=series)
    assert np.isfinite(bank.actuals).tolist() == [[False, True, True]]


def test_without_answers_the_bank_is_empty_and_still_works():
    bank = bank_of({"a": [failure(None, "a")]})
    assert (bank.windows, bank.n_eff) == (0, 0.0)
    assert bank.slice_at(SERIES.last, 40).windows == 0
    assert bank.median.shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"levels": (0.2, 0.5, 0.8)}, "levels"),
        ({"dates": SERIES.dates[11:14] + np.timedelta64(1, "D")}, "dates"),
        ({"unit": "cents"}, "unit"),
        ({"series": "other"}, "series"),
    ],
    ids=str,
)
def test_forecasts_that_do_not_belong_are_refused(changes, word):
    """Regression: "inverse RMSE over mixed units": a row in another unit never gets into the bank."""
    with pytest.raises(BankError, match=word):
        bank_of({"a": [forecast(10, **changes)]})


def test_a_forecast_of_another_length_is_refused():
    short = forecast(10, dates=SERIES.dates[11:13], quantiles=np.ones((2, 3)))
    with pytest.raises(BankError, match="dates"):
        bank_of({"a": [short]})


def test_a_cutoff_that_is_no_session_is_refused():
    sunday = as_stamp("2015-01-18")
    with pytest.raises(DataError, match="no session"):
        bank_of({"a": [Failure(member="a", cutoff=sunday, code="X", reason="x")]})


# Bank


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"quantiles": np.zeros((2, 4, 3, 2))}, "quantiles"),
        ({"quantiles": np.zeros((2, 4, 2, 3))}, "quantiles"),
        ({"actuals": np.zeros((4, 2))}, "actuals"),
        ({"asked": np.ones((4, 2), bool)}, "asked"),
        ({"ends": SERIES.dates[:3]}, "ends"),
        ({"cutoffs": SERIES.dates[[0, 5, 5, 10]]}, "increase"),
        ({"cutoffs": SERIES.dates[[10, 5, 15, 20]]}, "increase"),
        ({"members": ("a", "a")}, "twice"),
        ({"stride": 0}, "stride"),
    ],
    ids=str,
)
def test_a_bank_that_contradicts_itself_is_refused(changes, word):
    with pytest.raises(BankError, match=word):
        plain(**changes)


def test_arrays_are_read_only_and_the_callers_stay_writable():
    quantiles = np.zeros((2, 4, 3, 3))
    bank = plain(quantiles=quantiles)
    quantiles[:] = 9.0
    assert (bank.quantiles == 0.0).all()
    for part in (bank, bank.pick(np.array([0, 2])), bank.select(["b"]), bank.with_member("c", quantiles[0])):
        for array in (part.quantiles, part.actuals, part.asked, part.cutoffs, part.ends):
            assert not array.flags.writeable


@pytest.mark.parametrize("rows", [[], [0], [1, 3], [0, 1, 2, 3]])
def test_pick_keeps_every_array_in_step(rows):
    bank = plain()
    for keep in (np.array(rows, dtype=np.int64), np.isin(np.arange(4), rows)):
        part = bank.pick(keep)
        assert np.array_equal(part.cutoffs, bank.cutoffs[rows])
        assert np.array_equal(part.ends, bank.ends[rows])
        assert np.array_equal(part.quantiles, bank.quantiles[:, rows])
        assert np.array_equal(part.actuals, bank.actuals[rows])
        assert np.array_equal(part.asked, bank.asked[:, rows])


def test_only_cutoffs_whose_last_step_is_known_have_matured():
    bank = plain(windows=5)
    assert bank.slice_at(bank.ends[2], 40).cutoffs.tolist() == bank.cutoffs[:3].tolist()
    before = bank.ends[2] - np.timedelta64(1, "s")
    assert bank.slice_at(before, 40).cutoffs.tolist() == bank.cutoffs[:2].tolist()
    assert bank.slice_at(bank.cutoffs[0], 40).windows == 0


@pytest.mark.parametrize(
    ("newest", "rows"), [(0, []), (1, [3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3])]
)
def test_a_slice_takes_the_newest(newest, rows):
    bank = plain()
    assert np.array_equal(bank.slice_at(SERIES.last, newest).cutoffs, bank.cutoffs[rows])


def test_a_slice_of_a_slice_sees_nothing_newer():
    bank = plain()
    assert bank.slice_at(bank.ends[1], 40).slice_at(SERIES.last, 40).windows == 2


def test_select_follows_the_order_given_and_knows_its_members():
    bank = plain()
    part = bank.select(["b", "a"])
    assert part.members == ("b", "a")
    assert np.array_equal(part.quantiles, bank.quantiles[::-1])
    with pytest.raises(UnknownNameError, match="did you mean"):
        plain(members=("random_walk", "var")).select(["randomwalk"])


def test_with_member_appends_rows():
    bank = plain()
    rows = np.full((4, 3, 3), 7.0)
    more = bank.with_member("c", rows, np.array([True, False, True, True]))
    assert more.members == ("a", "b", "c")
    assert more.asked[2].tolist() == [True, False, True, True]
    assert (more.quantiles[more.member_index("c")] == 7.0).all()
    assert bank.members == ("a", "b")


@pytest.mark.parametrize("rows", [np.zeros((3, 3, 3)), np.zeros((4, 3)), np.zeros((4, 3, 2))])
def test_with_member_refuses_rows_of_another_shape(rows):
    with pytest.raises(BankError, match="rows of c"):
        plain().with_member("c", rows)


def test_with_member_refuses_a_mask_of_another_shape_and_a_second_row():
    with pytest.raises(BankError, match="rows of c"):
        plain().with_member("c", np.zeros((4, 3, 3)), np.ones(3, bool))
    with pytest.raises(BankError, match="already"):
        plain().with_member("a", np.zeros((4, 3, 3)))


def test_an_unknown_level_is_refused():
    with pytest.raises(BankError, match="level"):
        plain().level_index(0.25)


def test_leads_are_the_lead_grid_from_zero():
    assert plain().leads.tolist() == [0, 1, 2]


# embeddings


def seen(*numbers: float, novelty: float | None = None) -> Embedding:
    return Embedding(vector=np.array(numbers), novelty=novelty)


def test_embeddings_stand_at_their_cutoffs_and_follow_the_bank():
    rows = {
        "b": [forecast(row, member="b") for row in (5, 10, 15)],
        "a": [
            forecast(10, embedding=seen(1.0, 2.0, novelty=0.5)),
            failure(5, "a"),
            forecast(15, embedding=seen(3.0, 4.0)),
        ],
    }
    bank = bank_of(rows)
    assert bank.embeddings.at(0) is None
    assert bank.embeddings.at(1).same_numbers(seen(1.0, 2.0, novelty=0.5))
    assert bank.embeddings.at(2).same_numbers(seen(3.0, 4.0))
    assert bank.embeddings.size == 2
    assert not bank.embeddings.vectors.flags.writeable
    late = bank.pick(np.array([False, True, True]))
    for part in (late, late.select(["b"]), late.with_member("c", late.quantiles[0])):
        assert part.embeddings.at(0).same_numbers(seen(1.0, 2.0, novelty=0.5))
        assert part.embeddings.at(1).same_numbers(seen(3.0, 4.0))
    matured = bank.slice_at(bank.ends[1], 1)
    assert matured.embeddings.at(0).same_numbers(seen(1.0, 2.0, novelty=0.5))
    assert bank.slice_at(bank.cutoffs[0], 40).embeddings.vectors.shape == (0, 2)


def test_live_rows_leave_the_embeddings_of_the_backtest():
    bank = bank_of({"a": [forecast(5, embedding=seen(1.0)), forecast(10, embedding=seen(2.0))]})
    moved = forecast(10).quantiles * 1.5
    after = continue_bank(bank, SERIES, {"a": [forecast(10, quantiles=moved)]})
    assert not np.array_equal(after.quantiles, bank.quantiles)
    assert after.embeddings.at(1).same_numbers(seen(2.0))


def test_a_bank_without_any_has_none():
    assert bank_of({"a": [forecast(5)], "b": [failure(None)]}).embeddings is None


def test_embeddings_that_do_not_belong_together_are_refused():
    one, two = forecast(5, embedding=seen(1.0)), forecast(10, embedding=seen(1.0, 2.0))
    with pytest.raises(BankError, match="different sizes"):
        bank_of({"a": [one, two]})
    with pytest.raises(BankError, match="more than one member"):
        bank_of({"a": [one], "b": [forecast(5, member="b", embedding=seen(1.0))]})
    with pytest.raises(BankError, match="per cutoff"):
        plain(embeddings=Embeddings(vectors=np.ones((3, 2)), novelty=np.ones(3)))
    with pytest.raises(BankError, match="shapes"):
        Embeddings(vectors=np.ones((3, 2)), novelty=np.ones(2))
