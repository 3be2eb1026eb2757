"""Settings: order of layers, deep merging, isolation of services, wrong values."""

import os
from pathlib import Path

import pytest

from horizoncast.engine import EngineConfig, default_members
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.errors import ConfigError, HorizoncastError, UnknownNameError
from horizoncast.models.naive import RandomWalkConfig
from horizoncast.models.registry import MEMBERS, NEEDS
from horizoncast.policy.states import MemberState
from horizoncast.service.folders import BUILT_IN
from horizoncast.service.settings import Settings, load_settings

SERVICE = "forecaster_30d"


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with base.toml and two services."""
    write(tmp_path, "config/base.toml", "[decision]\ntrim = 2.0\ncap = 0.7\n")
    for name in (SERVICE, "forecaster_7d"):
        write(tmp_path, f"services/{name}/service.toml", "")
    return tmp_path


def load(root: Path, service: str = SERVICE, **overrides: str) -> Settings:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_settings(service, root=root, environ={}, overrides=keys)


def test_each_layer_overrides_the_one_before(root: Path) -> None:
    workers = [load(root).run.workers]
    write(root, "config/base.toml", "[run]\nworkers = 2\n")
    workers.append(load(root).run.workers)
    write(root, f"services/{SERVICE}/service.toml", "[run]\nworkers = 3\n")
    workers.append(load(root).run.workers)
    write(root, ".env", "HORIZONCAST_RUN__WORKERS=4\n")
    workers.append(load(root).run.workers)
    write(root, f"services/{SERVICE}/.env", "HORIZONCAST_RUN__WORKERS=5\n")
    workers.append(load(root).run.workers)
    environ = {"HORIZONCAST_RUN__WORKERS": "6"}
    workers.append(load_settings(SERVICE, root=root, environ=environ).run.workers)
    overrides = {"run.workers": "7"}
    workers.append(load_settings(SERVICE, root=root, environ=environ, overrides=overrides).run.workers)
    assert workers == [1, 2, 3, 4, 5, 6, 7]


def test_regression_layers_do_not_erase_each_others_keys(root: Path) -> None:
    """A table in service.toml once replaced the whole table of base.toml."""
    write(
        root,
        f"services/{SERVICE}/service.toml",
        "[decision]\ncap = 0.5\n[members.random_walk]\ndecay = 0.9\n",
    )
    settings = load(root, members__random_walk__windows__7d="300")
    assert (settings.decision.trim, settings.decision.cap) == (2.0, 0.5)
    assert settings.decision.newest == DecisionConfig.newest
    walk = settings.members["random_walk"]
    assert walk.config == RandomWalkConfig(decay=0.9)
    assert walk.windows == {"7d": 300, "15d": 500, "30d": 500, "90d": 500, "other": 500}
    assert set(settings.members) == {*MEMBERS, "hybrid"}


def test_regression_a_service_env_is_read(root: Path) -> None:
    write(root, f"services/{SERVICE}/.env", "ENABLE_RF=shadow\n")
    assert load(root).members["random_forest"].state is MemberState.SHADOW


def test_regression_a_service_env_never_leaks(root: Path) -> None:
    """Neither into another service, nor into the environment, nor through it."""
    write(root, f"services/{SERVICE}/.env", "ENABLE_RF=shadow\nHORIZONCAST_TARGET=mine.toml\n")
    before = dict(os.environ)
    first = load_settings(SERVICE, root=root)
    second = load_settings("forecaster_7d", root=root)
    assert first.members["random_forest"].state is MemberState.SHADOW
    assert second.members["random_forest"].state is MemberState.ON
    assert second.target != "mine.toml"
    assert dict(os.environ) == before


def test_process_environment_is_the_default(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_VAR", "false")
    assert load_settings(SERVICE, root=root).members["var"].state is MemberState.OFF


def test_env_file_in_the_current_folder_is_not_read_behind_our_back(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, ".env", "ENABLE_VAR=off\nRUN=1\nTARGET=x\n")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("TARGET", "foreign.toml")
    settings = load_settings(SERVICE, root=root)
    assert settings.members["var"].state is MemberState.ON
    assert settings.target != "foreign.toml"


@pytest.mark.parametrize(
    ("text", "state"), [("off", "off"), ("shadow", "shadow"), ("on", "on"), ("TRUE", "on"), ("false", "off")]
)
@pytest.mark.parametrize("member", ["ARIMA", "VAR", "RF", "CHRONOS", "AUTOFORMER", "HYBRID"])
def test_enable_variables(root: Path, member: str, text: str, state: str) -> None:
    names = {"ARIMA": "arima_garch", "RF": "random_forest"}
    settings = load_settings(SERVICE, root=root, environ={f"ENABLE_{member}": text})
    assert settings.members[names.get(member, member.lower())].state == state


def test_auto_is_on_where_the_packages_are_installed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> str:
        environ = {"ENABLE_CHRONOS": "auto"}
        return load_settings(SERVICE, root=root, environ=environ).members["chronos"].state.value

    assert state() == "on"
    monkeypatch.setitem(NEEDS, "chronos", "no_such_package")
    assert state() == "off"


def test_shipped_defaults_what_is_not_proven_is_off(tmp_path: Path) -> None:
    states = {name: m.state for name, m in load(tmp_path).members.items()}
    assert {name for name, state in states.items() if state is not MemberState.ON} == {"autoformer", "hybrid"}
    assert set(MEMBERS) <= set(states)


def test_chronos_variables_are_validated(root: Path) -> None:
    environ = {"CHRONOS_CONTEXT_LENGTH": "1024", "CHRONOS_NUM_SAMPLES": "50"}
    fields = load_settings(SERVICE, root=root, environ=environ).members["chronos"].own_fields()
    assert (fields["context_length"], fields["num_samples"]) == (1024, 50)
    for text in ("auto", "adaptive"):
        found = load_settings(SERVICE, root=root, environ={"CHRONOS_CONTEXT_LENGTH": text})
        assert found.members["chronos"].own_fields()["context_length"] == text
    wrong = {"CHRONOS_CONTEXT_LENGTH": ("7", "long"), "CHRONOS_NUM_SAMPLES": ("many", "0")}
    for variable, value in [(name, text) for name, texts in wrong.items() for text in texts]:
        with pytest.raises(ConfigError, match=variable):
            load_settings(SERVICE, root=root, environ={variable: value})


def test_no_config_at_all_works_with_built_in_services(tmp_path: Path) -> None:
    horizons = {name: load(tmp_path, name).horizon for name in BUILT_IN}
    assert horizons == {f"forecaster_{h}": h for h in ("7d", "15d", "30d", "90d")}
    assert load(tmp_path, "forecaster_90d").cadence.weeks == "first"


def test_class_defaults_are_the_engines(tmp_path: Path) -> None:
    config = load(tmp_path).engine_config()
    plain = EngineConfig(service=SERVICE)
    assert config.decision == plain.decision
    assert (config.replays, config.workers, config.isolated, config.min_train) == (
        plain.replays, plain.workers, plain.isolated, plain.min_train,
    )  # fmt: skip
    ours = {m.name: m for m in config.members if m.state is MemberState.ON}
    for theirs in default_members():
        mine = ours[theirs.name]
        assert (mine.deadline_s, mine.memory_mb, mine.windows) == (
            theirs.deadline_s, theirs.memory_mb, theirs.windows,
        )  # fmt: skip


def test_windows_are_resolved_for_the_horizon(root: Path) -> None:
    settings = load(root, members__random_walk__windows="{ 7d = 111, other = 222 }")
    window = {h: _walk(settings, h).window for h in ("7d", "30d", "12d")}
    assert window == {"7d": 111, "30d": 500, "12d": 222}


def test_cutoffs_and_limits_reach_the_engine(root: Path) -> None:
    settings = load(
        root, members__var__cutoffs="{ 30d = 20 }", members__var__deadline_s="5", run__memory_mb="900"
    )
    var = next(m for m in settings.engine_config().members if m.name == "var")
    assert (var.windows, var.deadline_s, var.memory_mb) == (20, 5.0, 900)
    assert next(m for m in settings.engine_config("7d").members if m.name == "var").windows is None


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("decison.rule", "equal", "did you mean decision"),
        ("decision.rul", "equal", "did you mean rule"),
        ("decision.rule", "equl", "did you mean equal"),
        ("members.vaar.state", "on", "did you mean var"),
        ("members.random_walk.decai", "0.9", "did you mean decay"),
        ("members.random_walk.window", "100", "did you mean windows"),
        ("members.autoformer.layers", "2", "allowed"),
    ],
)
def test_unknown_names_get_a_hint_and_the_layer(root: Path, key: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        load_settings(SERVICE, root=root, environ={}, overrides={key: value})
    assert "command line" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run.workers", "none"),
        ("run.workers", "0"),
        ("run.deadline_s", "-1"),
        ("run.min_train", "some"),
        ("decision.cap", "1.5"),
        ("decision.newest", "0"),
        ("decision.prior", "-0.5"),
        ("horizon", "1 month"),
        ("horizon", "0"),
        ("cadence.days", '["monday"]'),
        ("cadence.days", '["mon", "mon"]'),
        ("cadence.days", "[]"),
        ("cadence.time", "24:00"),
        ("cadence.time", "7"),
        ("cadence.weeks", "second"),
        ("cadence.timezone", "America/Santiagoo"),
        ("members.var.state", "maybe"),
        ("members.var.windows", "{ 7d = 0 }"),
        ("members.var.windows", "{ week = 10 }"),
        ("members.var", "on"),
        ("members.random_walk.decay", "much"),
        ("members.random_walk.state", "off"),
        ("members.seasonal_naive.state", "shadow"),
        ("target", ""),
        ("", "x"),
        ("run", "x"),
    ],
)
def test_wrong_values_name_key_and_layer(root: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match="command line"):
        load_settings(SERVICE, root=root, environ={}, overrides={key: value})


def test_wrong_value_in_a_file_names_the_file(root: Path) -> None:
    write(root, f"services/{SERVICE}/service.toml", "[run]\nworkers = 'x'\n")
    with pytest.raises(ConfigError, match=rf"run\.workers \(services/{SERVICE}/service\.toml\)"):
        load(root)


def test_unknown_horizoncast_variable_is_an_error_with_a_hint(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean decision") as caught:
        load_settings(SERVICE, root=root, environ={"HORIZONCAST_DECISON__RULE": "equal"})
    assert "HORIZONCAST_DECISON__RULE" in str(caught.value)


def test_unknown_service_gets_a_hint(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean forecaster_30d"):
        load(root, "forecaster_3od")
    with pytest.raises(UnknownNameError):
        load(root, "forecaster_90d")  # a services folder is there, and this one is not in it


def test_a_service_of_ones_own(root: Path) -> None:
    write(root, "services/hourly/service.toml", 'horizon = "24"\n')
    settings = load(root, "hourly")
    assert settings.horizon == "24d"
    assert settings.engine_config().service == "hourly"


@pytest.mark.parametrize("option", ["config", "env_file"])
def test_a_missing_named_file_is_an_error(root: Path, option: str) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(SERVICE, root=root, environ={}, **{option: root / "absent"})  # type: ignore[arg-type]


def test_named_files_replace_the_usual_ones(root: Path) -> None:
    write(root, ".env", "ENABLE_VAR=off\n")
    write(root, "other/base.toml", "[decision]\ntrim = 3.0\n")
    write(root, "other/env", "ENABLE_RF=off\n")
    settings = load_settings(
        SERVICE, root=root, environ={}, config=root / "other/base.toml", env_file=root / "other/env"
    )
    assert (settings.decision.trim, settings.decision.cap) == (3.0, DecisionConfig.cap)
    states = {name: str(m.state) for name, m in settings.members.items()}
    assert (states["var"], states["random_forest"]) == ("on", "off")


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--root"):
        load(tmp_path / "absent")


def test_config_hash_follows_numbers_and_not_folders(root: Path, tmp_path: Path) -> None:
    base = load(root).config_hash
    assert load(root, run__output="/elsewhere", run__cache="c").config_hash == base
    assert load(root, target=str(root / "config/targets/usdmxn.toml")).config_hash == base
    assert load(root, decision__rule="equal").config_hash != base
    assert load(root, members__random_walk__decay="0.9").config_hash != base
    assert load(root, "forecaster_7d").config_hash != base


def test_settings_made_by_hand_are_checked_too() -> None:
    assert Settings(horizon="7d").horizon == "7d"
    with pytest.raises(ValueError, match="horizn"):
        Settings(horizn="7d")  # type: ignore[call-arg]


def test_settings_do_not_change(root: Path) -> None:
    settings = load(root)
    with pytest.raises(ValueError, match="frozen"):
        settings.horizon = "7d"
    with pytest.raises(ValueError, match="frozen"):
        settings.run.workers = 3


def test_hybrid_is_noted_and_never_silent(root: Path) -> None:
    assert load(root).notes() == ()
    settings = load(root, members__hybrid__state="shadow")
    assert settings.notes()[0].startswith("hybrid is shadow but comes to off: chronos is ")
    assert all(m.name != "hybrid" for m in settings.engine_config().members)
    assert settings.engine_config().hybrid.state is MemberState.SHADOW
    assert load(root, members__hybrid__state="shadow", members__autoformer__state="shadow").notes() == ()


def test_the_hybrid_has_no_settings_of_a_process(root: Path) -> None:
    with pytest.raises(ConfigError, match="deadline_s"):
        load(root, members__hybrid__deadline_s="10")
    with pytest.raises(ConfigError, match="deployment of the hybrid"):
        load(root, members__hybrid__deployment="ful")
    assert load(root, members__hybrid__prior="0.5").engine_config().hybrid.config.prior == 0.5


def test_errors_are_the_projects_own(root: Path) -> None:
    write(root, "config/base.toml", "[run]\nworkers = [1]\n")
    with pytest.raises(HorizoncastError):
        load(root)


def _walk(settings: Settings, horizon: str) -> RandomWalkConfig:
    config = next(m.config for m in settings.engine_config(horizon).members if m.name == "random_walk")
    assert isinstance(config, RandomWalkConfig)
    return config
