"""The ledger of a service, as its settings name it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from horizoncast.data.secrets import Secrets
from horizoncast.service.pulling import variables
from horizoncast.service.settings import KeepingSettings
from horizoncast.store.ledger.database import FILE
from horizoncast.store.ledger.ledger import Ledger


def open_ledger(settings: KeepingSettings, environ: Mapping[str, str] | None = None) -> Ledger:
    """The ledger, made or migrated where it has to be.

    Parameters
    ----------
    environ
        Variables that secrets may be in; those of the process by default.

    Raises
    ------
    ConfigError
        When the URL cannot be used or a secret is not set.
    StoreError
        When it cannot be reached or written.
    """
    secrets = secrets_of(settings, environ)
    url = secrets.fill(settings.ledger.url, quoted=True)
    return Ledger.at(settings.output_folder, url, timeout_s=settings.ledger.timeout_s)


def has_ledger(settings: KeepingSettings) -> bool:
    """Whether there is one to read; a database by URL is taken to be."""
    return bool(settings.ledger.url) or (settings.output_folder / FILE).exists()


def secrets_of(settings: KeepingSettings, environ: Mapping[str, str] | None = None) -> Secrets:
    """Where the secrets of a service's settings are looked up."""
    given = os.environ if environ is None else environ
    return Secrets(variables(settings, given), settings.secrets_folder)
