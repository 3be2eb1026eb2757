"""Settings of the Chronos components: ``config/chronos.toml``, read strictly into frozen classes.

They are about making checkpoints (download, training, dummy data) and about the parts that run on their
own (``python -m horizoncast.models.chronos.base | train | load``). The member's settings are those of the
other members: ``[members.chronos]`` in ``config/base.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.horizon import LEVELS

MODES = ("full", "head", "gradual", "adapter", "lora")
"""How a checkpoint is fine-tuned; see docs/chronos.md."""

PATTERNS = ("trend", "seasonal", "noise")
"""Parts that dummy series are summed from."""

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class FolderSettings:
    """Where files go; relative paths start at the folder that holds ``config/``.

    Parameters
    ----------
    models
        Model folders: fetched, fine-tuned, pretrained.
    output
        What the parts write when they run on their own: predictions, plots, dummy data.
    """

    models: str = "models"
    output: str = "output/chronos"


@dataclass(frozen=True, kw_only=True)
class BaseSettings:
    """The base checkpoint and what it is asked for.

    Parameters
    ----------
    repo
        Repository on the Hugging Face hub, or a model folder.
    prediction_length, context_length
        Sessions ahead and sessions of context, of the parts that run on their own.
    quantiles
        Levels that predictions are made for.
    num_samples
        Sample paths of checkpoints that sample; Bolt and Chronos-2 state quantiles and ignore it.
    """

    repo: str = "amazon/chronos-bolt-small"
    prediction_length: int = 48
    context_length: int = 200
    quantiles: tuple[float, ...] = LEVELS
    num_samples: int = 100

    def __post_init__(self) -> None:
        _between("base", "prediction_length", self.prediction_length, 1, 1000)
        _between("base", "context_length", self.context_length, 16, 8192)
        _between("base", "num_samples", self.num_samples, 1, 1000)
        levels = self.quantiles
        rising = all(a < b for a, b in pairwise(levels))
        if not levels or not rising or not (levels[0] > 0 and levels[-1] < 1) or 0.5 not in levels:
            raise ConfigError("[base] quantiles", value=levels, allowed="rising, between 0 and 1, with 0.5")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Fine-tuning.

    Parameters
    ----------
    mode
        ``full``: all weights. ``head``: the output patch embedding. ``gradual``: the head, then the
        decoder as well, then the last encoder blocks as well. ``adapter``: a small network behind Bolt
        that reads covariates, Bolt itself frozen. ``lora``: adapters of Chronos-2.
    epochs, batch_size
        Passes over the training windows, and windows per step.
    steps
        Most steps, whatever the epochs say.
    learning_rate, decoder_rate, encoder_rate
        Of the head, the decoder and the encoder's last blocks.
    encoder_blocks
        Blocks of the encoder that ``gradual`` trains.
    adapter_rate, adapter_hidden
        Of ``adapter``: its learning rate, and units of its hidden layer.
    weight_decay, warmup
        Of AdamW; share of the steps over which the rate rises.
    stride
        Sessions between the starts of two training windows.
    validation_split
        Newest share of the windows that stops the training.
    test_split
        Newest share of the sessions, after those windows, on which the base is compared.
    check_every, patience
        Steps between looks at the held-back windows, and looks without a gain that end the training.
    min_gain
        Smallest gain over the base, as a share of its loss, that is kept.
    significance
        Largest p-value of the paired test at which it is kept.
    checkpoint_every
        Steps between states from which a killed training goes on.
    seed
        Of the order of the windows.
    device
        ``auto`` takes a GPU when there is one.
    """

    mode: str = "gradual"
    epochs: int = 10
    batch_size: int = 32
    steps: int = 500
    learning_rate: float = 1e-5
    decoder_rate: float = 3e-6
    encoder_rate: float = 1e-6
    encoder_blocks: int = 2
    adapter_rate: float = 1e-3
    adapter_hidden: int = 64
    weight_decay: float = 0.01
    warmup: float = 0.1
    stride: int = 1
    validation_split: float = 0.2
    test_split: float = 0.15
    check_every: int = 25
    patience: int = 4
    min_gain: float = 0.005
    significance: float = 0.05
    checkpoint_every: int = 50
    seed: int = 20260101
    device: str = "auto"

    def __post_init__(self) -> None:
        _one_of("training", "mode", self.mode, MODES)
        _one_of("training", "device", self.device, DEVICES)
        for name in (
            "epochs",
            "batch_size",
            "steps",
            "stride",
            "check_every",
            "patience",
            "checkpoint_every",
        ):
            _between("training", name, getattr(self, name), 1, 100_000)
        for name in ("learning_rate", "decoder_rate", "encoder_rate", "adapter_rate"):
            _between("training", name, getattr(self, name), 0.0, 1.0)
        _between("training", "encoder_blocks", self.encoder_blocks, 0, 100)
        _between("training", "adapter_hidden", self.adapter_hidden, 1, 1024)
        _between("training", "weight_decay", self.weight_decay, 0.0, 1.0)
        _between("training", "warmup", self.warmup, 0.0, 0.9)
        for name in ("validation_split", "test_split"):
            _between("training", name, getattr(self, name), 0.02, 0.5)
        _between("training", "min_gain", self.min_gain, 0.0, 1.0)
        _between("training", "significance", self.significance, 0.0, 0.5)


@dataclass(frozen=True, kw_only=True)
class DummySettings:
    """Series with known parts, to try the components without data.

    Parameters
    ----------
    patterns
        Parts that each series is summed from: trend, seasonal, noise.
    series, length
        How many, and sessions of each.
    period
        Sessions of a season.
    trend, amplitude, noise
        Rise per hundred sessions, half the height of a season, and standard deviation of the noise.
    seed
        Of all of it.
    """

    patterns: tuple[str, ...] = PATTERNS
    series: int = 8
    length: int = 600
    period: int = 12
    trend: float = 1.0
    amplitude: float = 1.0
    noise: float = 0.2
    seed: int = 7

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            _one_of("dummy", "patterns", pattern, PATTERNS)
        if not self.patterns:
            raise ConfigError("[dummy] patterns is empty", allowed=", ".join(PATTERNS))
        _between("dummy", "series", self.series, 1, 100_000)
        _between("dummy", "length", self.length, 16, 1_000_000)
        _between("dummy", "period", self.period, 2, 100_000)
        for name in ("amplitude", "noise"):
            _between("dummy", name, getattr(self, name), 0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class ChronosSettings:
    """All tables of ``config/chronos.toml``."""

    folders: FolderSettings = field(default_factory=FolderSettings)
    base: BaseSettings = field(default_factory=BaseSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    dummy: DummySettings = field(default_factory=DummySettings)


KindT = TypeVar("KindT")


def read_settings(file: Path | None = None) -> ChronosSettings:
    """Read ``config/chronos.toml``, or another file of its form; without a file the defaults hold.

    Raises
    ------
    ConfigError
        When a named file does not exist, is no TOML, or holds a value of the wrong type or out of range.
    UnknownNameError
        For a table or key nobody knows, with the closest known one.
    """
    if file is None:
        return ChronosSettings()
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("the settings of the Chronos components do not exist", value=file) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file.name} is no valid TOML", value=error) from error
    return settings_of(tables, file.name)


def settings_of(tables: Mapping[str, Any], place: str = "chronos.toml") -> ChronosSettings:
    """Settings from plain tables; `place` names them in messages."""
    kinds = get_type_hints(ChronosSettings)
    made = {}
    for name, values in tables.items():
        if name not in kinds:
            raise UnknownNameError.of(f"table in {place}", name, kinds)
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name} in {place} is no table", value=values, allowed=f"[{name}]")
        made[name] = table_of(kinds[name], values, f"[{name}] of {place}")
    return ChronosSettings(**made)


def settings_under(root: Path) -> ChronosSettings:
    """Settings below the folder that holds ``config/``: its chronos.toml, or the defaults."""
    file = root / "config" / "chronos.toml"
    return read_settings(file if file.is_file() else None)


def table_of(kind: type[KindT], values: Mapping[str, Any], place: str) -> KindT:
    """A frozen class from one TOML table: every key known, every value of its type.

    Raises
    ------
    ConfigError, UnknownNameError
        As `read_settings`.
    """
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UnknownNameError.of(f"key in {place}", key, known)
    return kind(**{key: _typed(hints[key], value, f"{key} in {place}") for key, value in values.items()})


def _typed(kind: Any, value: Any, place: str) -> Any:
    """The value as its class wants it: whole numbers for decimal ones, lists for tuples."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    inner = {tuple[float, ...]: float, tuple[str, ...]: str}.get(kind)
    if inner is not None and isinstance(value, list):
        return tuple(_typed(inner, one, place) for one in value)
    if inner is not None or type(value) is not kind:
        wanted = "a list" if inner is not None else f"a value of type {kind.__name__}"
        raise ConfigError(f"{place} is of the wrong type", value=repr(value), allowed=wanted)
    return value


def _one_of(table: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"[{table}] {name}", value=repr(value), allowed=", ".join(allowed))


def _between(table: str, name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"[{table}] {name} is out of range", value=value, allowed=f"{low:g} to {high:g}")
