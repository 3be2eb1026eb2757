"""Layers of settings: where values come from, each with the name of its file, variable or option.

Later layers win: class defaults, ``config/base.toml``, ``services/NAME/service.toml``, the global
``.env``, ``services/NAME/.env``, the environment, the command line. No layer is ever written to
``os.environ``, so that nothing of one service reaches another.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from horizoncast.errors import ConfigError
from horizoncast.service.folders import BUILT_IN, Places

PREFIX = "HORIZONCAST_"
CLASS_DEFAULTS = "class default"
ALIASES: dict[str, str] = {
    "ENABLE_ARIMA": "members.arima_garch.state",
    "ENABLE_VAR": "members.var.state",
    "ENABLE_RF": "members.random_forest.state",
    "ENABLE_CHRONOS": "members.chronos.state",
    "ENABLE_AUTOFORMER": "members.autoformer.state",
    "ENABLE_HYBRID": "members.hybrid.state",
    "CHRONOS_CONTEXT_LENGTH": "members.chronos.context_length",
    "CHRONOS_NUM_SAMPLES": "members.chronos.num_samples",
}
"""Variables with names of their own; every other setting is ``HORIZONCAST_<SECTION>__<KEY>``."""

_CONFUSED: dict[str, str] = {
    "ENABLE_ARIMA_GARCH": "ENABLE_ARIMA",
    "ENABLE_GARCH": "ENABLE_ARIMA",
    "ENABLE_RANDOM_FOREST": "ENABLE_RF",
    "ENABLE_FOREST": "ENABLE_RF",
    "CHRONOS_CONTEXT": "CHRONOS_CONTEXT_LENGTH",
    "CHRONOS_SAMPLES": "CHRONOS_NUM_SAMPLES",
}
_PREFIXES = ("ENABLE_", "CHRONOS_")
_NEAR = 0.75
_SECRET_NAME = re.compile(
    r"token|secret|passw|credential|api_?key|private|webhooks|notify\.ping", re.IGNORECASE
)
_SECRET_URL = re.compile(r"(?<=://)[^/@\s]+@")
HIDDEN = "(hidden)"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Values from one place.

    Parameters
    ----------
    name
        What people call it: ``config/base.toml``, ``environment``.
    values
        Nested tables.
    names
        Variable or option that set a dotted key, where there is one.
    """

    name: str
    values: dict[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    def sets(self, key: str) -> bool:
        """Whether the layer says anything of a dotted key or of a table above or below it."""
        here: Any = self.values
        for part in key.split("."):
            if not isinstance(here, dict):
                return True
            if part not in here:
                return False
            here = here[part]
        return True

    def describe(self, key: str) -> str:
        """Layer with the variable or option, as in ``environment: ENABLE_VAR``."""
        known = [name for path, name in self.names.items() if _related(path, key)]
        return f"{self.name}: {', '.join(known)}" if known else self.name


def read_layers(
    service: str,
    places: Places,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Layer, ...]:
    """All layers of a service, weakest first; `defaults` are those the classes do not hold themselves."""
    layers = [Layer(name=CLASS_DEFAULTS, values=dict(defaults or {}))]
    base, own = places.base_file(), places.service_file(service)
    if base is not None:
        layers.append(toml_layer(base, places.short(base)))
    if service in BUILT_IN:
        layers.append(Layer(name="built-in service", values=BUILT_IN[service]))
    if own is not None:
        layers.append(toml_layer(own, places.short(own)))
    layers += [
        env_file_layer(path, places.short(path))
        for path in (places.global_env(), places.service_env(service))
        if path is not None
    ]
    return (*layers, variables_layer(environ, "environment"), overrides_layer(overrides))


def merged(layers: tuple[Layer, ...]) -> dict[str, Any]:
    """All layers as one, tables merged key by key, later layers over earlier ones."""
    values: dict[str, Any] = {}
    for layer in layers:
        _lay_over(values, layer.values)
    return values


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, Mapping):
            table = below.get(key)
            below[key] = dict(table) if isinstance(table, Mapping) else {}
            _lay_over(below[key], value)
        else:
            below[key] = value


def source_of(layers: tuple[Layer, ...], key: str) -> str:
    """Describe the last layer that sets a dotted key, empty when none does."""
    return next((layer.describe(key) for layer in reversed(layers) if layer.sets(key)), "")


def toml_layer(path: Path, name: str) -> Layer:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        When it is not UTF-8 or no valid TOML.
    """
    try:
        return Layer(name=name, values=tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} is no valid TOML", value=error, action="correct the line") from error


def env_file_layer(path: Path, name: str) -> Layer:
    """Read a ``.env`` file; nothing is interpolated and nothing reaches the environment.

    Raises
    ------
    ConfigError
        For a line that cannot be read, and for what `variables_layer` refuses.
    """
    from dotenv.parser import parse_stream

    variables = {}
    with path.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            if binding.error or (binding.key is not None and binding.value is None):
                raise ConfigError(
                    f"{name}, line {binding.original.line} cannot be read",
                    value=repr(_without_value(binding.original.string)),
                    allowed="NAME=value, or # and a comment",
                )
            if binding.key is not None:
                variables[binding.key] = binding.value or ""
    return variables_layer(variables, name)


def variables_layer(variables: Mapping[str, str], name: str) -> Layer:
    """Take the settings among environment variables and leave other programs' alone.

    Raises
    ------
    ConfigError
        When a name is nearly one of ours, or two of them set one key.
    """
    found = []
    for variable, text in variables.items():
        if variable in ALIASES:
            found.append((ALIASES[variable], variable, text))
        elif variable.startswith(PREFIX):
            found.append((variable.removeprefix(PREFIX).lower().replace("__", "."), variable, text))
        elif (hint := near_miss(variable)) is not None:
            raise ConfigError(
                f"{name}: a variable is nearly one of ours", value=variable, action=f"did you mean {hint}?"
            )
    return _from_pairs(found, name)


def overrides_layer(overrides: Mapping[str, str], name: str = "command line") -> Layer:
    """Take dotted keys with text values, as ``--set`` gives them."""
    return _from_pairs([(key, f"--set {key}", text) for key, text in overrides.items()], name)


@lru_cache(maxsize=4096)
def near_miss(variable: str) -> str | None:
    """Return the variable of ours that another one was probably meant to be, or None.

    >>> near_miss("ENABLE_CRONOS"), near_miss("CHRONOS_CONTEXT_LENGHT"), near_miss("ENABLE_X11")
    ('ENABLE_CHRONOS', 'CHRONOS_CONTEXT_LENGTH', None)
    """
    upper = variable.upper()
    if upper in ALIASES:
        return upper  # only the case differs
    if upper in _CONFUSED:
        return _CONFUSED[upper]
    head, _, tail = upper.partition("_")
    if tail and _ratio(head, PREFIX[:-1]) > 0.85:
        return PREFIX + tail
    prefix = next((p for p in _PREFIXES if upper.startswith(p)), None)
    if prefix is None:
        return next((known for known in ALIASES if _looks_like(upper, known)), None)
    tails = [known.removeprefix(prefix) for known in ALIASES if known.startswith(prefix)]
    own = upper.removeprefix(prefix)
    best = max(tails, key=lambda known: _ratio(own, known))
    return prefix + best if _ratio(own, best) > _NEAR else None


def flatten(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested tables; an empty table is a value.

    >>> list(flatten({"a": {"b": 1, "c": {}}}))
    [('a.b', 1), ('a.c', {})]
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def masked(key: str, value: Any) -> Any:
    """Hide a value whose name says secret, and a password inside an address.

    >>> masked("outbox.token", "abc"), masked("source", "postgres://me:pw@host/db")
    ('(hidden)', 'postgres://(hidden)@host/db')
    """
    if _SECRET_NAME.search(key):
        return HIDDEN
    return _SECRET_URL.sub(f"{HIDDEN}@", value) if isinstance(value, str) else value


def _from_pairs(found: list[tuple[str, str, str]], name: str) -> Layer:
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for key, label, text in found:
        if key in names:
            raise ConfigError(f"{name}: {names[key]} and {label} set the same setting", value=key)
        _put(values, key, _value_of(text, key, label), f"{name}: {label}")
        names[key] = label
    return Layer(name=name, values=values, names=names)


def _put(values: dict[str, Any], key: str, value: object, label: str) -> None:
    """Set a dotted key in nested tables."""
    *tables, last = key.split(".")
    here = values
    for table in tables:
        inner = here.setdefault(table, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{label}: a value and a table of one name", value=key)
        here = inner
    if not all((*tables, last)) or isinstance(here.get(last), dict):
        raise ConfigError(f"{label}: the name of a setting cannot be read", value=key, allowed="table.key")
    here[last] = value


def _value_of(text: str, key: str, label: str) -> object:
    """Lists and tables in TOML, everything else as text that the setting's type reads."""
    if not text.lstrip().startswith(("[", "{")) or text.lstrip().startswith("{secret:"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{label}: a list or table cannot be read",
            value=masked(key, text),
            allowed='["a", "b"] or { 7d = 500 }',
        ) from error


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio() if one != other else 1.0


def _looks_like(upper: str, known: str) -> bool:
    """Whether a name with another prefix is a misspelling of one of ours."""
    head, _, tail = known.partition("_")
    same_tail = upper.endswith(f"_{tail}") and _ratio(upper.removesuffix(f"_{tail}"), head) > 0.8
    return same_tail or _ratio(upper, known) > 0.9


def _related(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.") or key.startswith(f"{path}.")


def _without_value(line: str) -> str:
    """The name part of a line: what follows may be a secret."""
    return line.strip().split("=", 1)[0][:60]
