"""Numbers rounded to their uncertainty, as people should read them."""

from __future__ import annotations

from math import floor, isfinite, log10


def decimals_for(error: float | None, value: float = 0.0) -> int:
    """Decimal places that an error justifies: one digit of it, two where it begins with a 1.

    Without an error, three significant digits of the value.

    >>> decimals_for(0.034), decimals_for(0.014), decimals_for(12.0), decimals_for(None, 18.9077)
    (2, 3, 0, 1)
    """
    if error is not None and isfinite(error) and error > 0:
        power = floor(log10(error))
        return max(0, -power + (1 if error / 10.0**power < 2.0 else 0))
    if not isfinite(value) or value == 0:
        return 0
    return max(0, 2 - floor(log10(abs(value))))


def rounded(value: float, error: float | None = None) -> str:
    """A value with no more digits than its error justifies.

    >>> rounded(0.12345, 0.034), rounded(18.90771, 0.31), rounded(-0.0004, 0.02), rounded(1234.5)
    ('0.12', '18.9', '0.00', '1234')
    """
    text = f"{value:.{decimals_for(error, value)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def percent(value: float, error: float | None = None) -> str:
    """A share as a percentage with no more digits than its error justifies; at least whole percents.

    >>> percent(0.8123, 0.034), percent(0.8123, 0.004), percent(0.5)
    ('81', '81.2', '50')
    """
    scaled = None if error is None else 100.0 * error
    known = scaled is not None and isfinite(scaled) and scaled > 0
    text = f"{100.0 * value:.{decimals_for(scaled) if known else 0}f}"
    return text.removeprefix("-") if float(text) == 0 else text
