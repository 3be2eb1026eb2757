"""One root for every error the system raises on purpose.

::

    HorizoncastError                  exit code 1
    |- ConfigError                    2   a setting, flag, name or file of ours is wrong
    |  `- UnknownNameError                a name nobody knows, with a close match
    |- DataError                      3   the input cannot be forecast from
    |  |- SourceError                     a file or column cannot be read
    |  `- CheckError                      the rows were read and are not plausible
    |- ModelError                     4   a member cannot answer
    |  |- HistoryTooShortError
    |  |- MissingCovariateError
    |  |- NotInstalledError
    |  |- NotAdmittedError                does not fit in the memory there is
    |  `- ChildError                      a member's process crashed, hung or was killed
    |- ForecastError                  5   a forecast breaks its invariants
    |- BankError                      5   numbers that may not be compared or combined
    |- PublicationError               6   the output gate blocked a run
    |- StoreError                     7   a result cannot be written or read
    |  `- AlreadyPublishedError           the run exists and no new revision was asked for
    `- RunEndedError                  8   a run did not end by itself, or never began

Every message says what was asked, the offending value, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class HorizoncastError(Exception):
    """Root of all errors raised on purpose.

    Parameters
    ----------
    what
        What was asked, or what went wrong, in one sentence without a full stop.
    value
        The offending value; left out of the text when None.
    allowed
        What would have been accepted.
    action
        What the reader should do next.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        value: object = None,
        allowed: str | None = None,
        action: str | None = None,
    ) -> None:
        self.what = what
        self.value = None if value is None else str(value)
        self.allowed = allowed
        self.action = action
        parts = [what]
        if self.value is not None:
            parts.append(f"got {self.value}")
        if allowed is not None:
            parts.append(f"allowed: {allowed}")
        if action is not None:
            parts.append(action)
        super().__init__("; ".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross a process boundary with every part intact (keyword arguments are lost by default)."""
        return _rebuild, (type(self), self.what, self.value, self.allowed, self.action)


def _rebuild(
    kind: type[HorizoncastError], what: str, value: str | None, allowed: str | None, action: str | None
) -> HorizoncastError:
    return kind(what, value=value, allowed=allowed, action=action)


class ConfigError(HorizoncastError):
    """A setting, a command line argument or a configuration file is wrong."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that nobody knows."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Build the message with the closest known name, if one is near."""
        names = sorted(known)
        return cls(
            f"unknown {kind}",
            value=repr(name),
            allowed=", ".join(names),
            action=close_match(name, names),
        )


class DataError(HorizoncastError):
    """The input cannot be forecast from."""

    exit_code = 3


class SourceError(DataError):
    """A file, a column or a cell cannot be read."""


class CheckError(DataError):
    """The rows were read, and they are not plausible."""


class ModelError(HorizoncastError):
    """A member cannot answer."""

    exit_code = 4


class HistoryTooShortError(ModelError):
    """The member needs more sessions than the history has."""


class MissingCovariateError(ModelError):
    """A covariate is missing for longer than its policy carries it forward."""


class NotInstalledError(ModelError):
    """The packages of an optional member are not installed."""


class NotAdmittedError(ModelError):
    """The member needs more memory than there is."""


class ChildError(ModelError):
    """The process of a member crashed, ran out of memory or past its deadline."""


class ForecastError(HorizoncastError):
    """A forecast breaks one of its invariants (finite, ordered, dated, shaped)."""

    exit_code = 5


class BankError(HorizoncastError):
    """Numbers that may not be compared or combined."""

    exit_code = 5


class PublicationError(HorizoncastError):
    """The output gate blocked a run."""

    exit_code = 6


class StoreError(HorizoncastError):
    """A result cannot be written or read."""

    exit_code = 7


class RunEndedError(HorizoncastError):
    """A run did not end by itself: a signal, the time limit, a defect; or it never began."""

    exit_code = 8


class AlreadyPublishedError(StoreError):
    """The (service, series, as-of) is published, and no new revision was asked for."""


def close_match(name: str, known: Iterable[str]) -> str | None:
    """Return "did you mean ...?" for the known name nearest to `name`, or None.

    >>> close_match("ENABLE_CRONOS", ["ENABLE_CHRONOS", "ENABLE_VAR"])
    'did you mean ENABLE_CHRONOS?'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else None
