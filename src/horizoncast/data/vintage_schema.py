"""Tables of the store of observations, version by version."""

from __future__ import annotations

VERSION = 1

SCHEMA = (
    # A pull and the moment its values became known, seconds since 1970 UTC.
    "CREATE TABLE pull(id INTEGER PRIMARY KEY AUTOINCREMENT, known_at INTEGER NOT NULL) STRICT",
    # A column of a source; key is "target" or "covariate:NAME".
    """CREATE TABLE series(
        id INTEGER PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, UNIQUE(key, name)) STRICT""",
    # seq counts the values of one date: 0 is the first, every further one a revision.
    """CREATE TABLE vintage(
        series INTEGER NOT NULL REFERENCES series(id),
        date INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        value REAL NOT NULL,
        known_at INTEGER NOT NULL,
        pull INTEGER NOT NULL REFERENCES pull(id),
        PRIMARY KEY(series, date, seq)) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER vintage_stays BEFORE UPDATE ON vintage
        BEGIN SELECT RAISE(ABORT, 'a vintage is never changed'); END""",
    # How asking a source went, pull by pull.
    """CREATE TABLE attempt(
        pull INTEGER NOT NULL REFERENCES pull(id),
        key TEXT NOT NULL,
        outcome TEXT NOT NULL,
        new INTEGER NOT NULL,
        late INTEGER NOT NULL,
        revised INTEGER NOT NULL,
        unchanged INTEGER NOT NULL,
        reason TEXT) STRICT""",
    # When a part of a source (a year, or "all") was last read in full.
    """CREATE TABLE covered(
        key TEXT NOT NULL, part TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(key, part)) STRICT""",
    # Validators for conditional requests; the URL is stored with its secrets hidden.
    """CREATE TABLE validator(
        key TEXT NOT NULL, url TEXT NOT NULL, etag TEXT, modified TEXT, PRIMARY KEY(key, url)) STRICT""",
    # Files of a drop folder that were read.
    """CREATE TABLE file(
        key TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, pull INTEGER NOT NULL,
        PRIMARY KEY(key, name, digest)) STRICT""",
)
