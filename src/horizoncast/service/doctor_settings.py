"""What settings say that can be read and still cannot work: members, limits, schedules, secrets, channels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from horizoncast.data.secrets import Secrets, names_in
from horizoncast.errors import ConfigError, NotInstalledError
from horizoncast.models.registry import MEMBERS, NAIVES, member_class
from horizoncast.policy.cadence import Shift
from horizoncast.policy.states import MemberState
from horizoncast.service.channels import webhook_problem
from horizoncast.service.findings import Finding, fail, ok, warn
from horizoncast.service.layers import flatten
from horizoncast.service.ledgers import secrets_of
from horizoncast.service.settings import Settings

AHEAD = timedelta(days=400)
"""A year and a month: every clock change and every first weekday comes in it."""
OTHERS_READ = 0o077
_PASSWORD = re.compile(r"://[^/@:\s]*:[^/@\s]+@")


def states(settings: Settings, cores: int) -> Iterator[Finding]:
    """Members that were asked for and cannot run, and limits that contradict each other."""
    name = f"members of {settings.service}"
    asked = [n for n, m in settings.members.items() if m.state is not MemberState.OFF and n in MEMBERS]
    absent = [n for n in asked if not _runs(n)]
    for member in absent:
        state = settings.members[member].state
        text = f"{member} is {state} and its package is not installed: every run is short of it"
        yield fail(name, text, f"pip install 'horizoncast[neural]', or set members.{member}.state = \"off\"")
    on = [n for n in asked if settings.members[n].state is MemberState.ON and n not in NAIVES]
    if not on:
        yield warn(name, "none is on: the naives alone forecast", "switch a member on")
    elif not absent:
        yield ok(name, ", ".join(on))
    yield from _limits(settings, cores)


def _limits(settings: Settings, cores: int) -> Iterator[Finding]:
    name, run = f"limits of {settings.service}", settings.run
    longest, ends = run.deadline_s, 60 * settings.tick.run_minutes
    if ends < longest:
        text = f"tick ends a run after {ends:.0f} s, and one member alone may take {longest:.0f} s"
        yield fail(name, text, "raise tick.run_minutes, or lower run.deadline_s")
    if not run.isolated:
        text = "run.isolated is false: a member that crashes or hangs takes the run with it"
        yield warn(name, text, "set it to true outside of debugging")
    if run.workers > cores:
        text = f"run.workers is {run.workers} on {cores} processors"
        yield warn(name, text, "lower it: members side by side on one processor only hold memory")


def schedule(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Hours that daylight saving removes or doubles."""
    name, cadence = f"schedule of {settings.service}", settings.cadence.as_cadence()
    odd = [due for due in cadence.between(now, now + AHEAD) if due.shift is not Shift.NONE]
    if odd:
        what = "does not exist" if odd[0].shift is Shift.GAP else "happens twice"
        text = f"{cadence.time} {cadence.timezone} {what} on {odd[0].local:%Y-%m-%d}: the clocks change then"
        yield warn(name, text, "tick runs once all the same; another hour of cadence.time is never in doubt")
    else:
        when = f"{','.join(cadence.days)} ({cadence.weeks} week) {cadence.time} {cadence.timezone}"
        yield ok(name, when)


def sharing(every: Sequence[Settings]) -> Iterator[Finding]:
    """Services that publish to one place, as if each had it to itself."""
    found = [
        *_clash(
            [s for s in every if s.ledger.url],
            lambda s: s.ledger.url,
            lambda s: s.output_folder,
            "one ledger by URL and different folders of results: each would miss the other's files",
            "give them one run.output, or a ledger each",
        ),
        *_clash(
            [s for s in every if s.notify.prometheus],
            lambda s: str(s.places.root / Path(s.notify.prometheus).expanduser()),
            _ledger_of,
            "one Prometheus file and different ledgers: each run overwrites what the other one wrote",
            "give each ledger a file of its own in notify.prometheus",
        ),
        *_clash(
            [s for s in every if s.notify.ping],
            lambda s: s.notify.ping,
            lambda s: s.service,
            "one health check: a service that runs hides one that is silent",
            "give each service a check of its own in its .env",
        ),
        *_clash(
            list(every),
            lambda s: f"{s.target_path} {s.horizon} {_ledger_of(s)}",
            lambda s: s.service,
            "one target at one horizon: the same forecast is made and published twice",
            "change the horizon or the target of one, or remove its folder",
        ),
    ]
    yield from found or [ok("shared places", "services do not get into each other's way")]


def folders_apart(settings: Settings) -> Iterator[Finding]:
    """Results, cache and store in each other: what one sweeps away the other one keeps."""
    named = {"run.output": settings.output_folder, "run.cache": settings.cache_folder}
    named["data.store"] = settings.store_folder
    paths = {key: path.resolve() for key, path in named.items()}
    pairs = [(a, b) for a in paths for b in paths if a < b]
    inside = [(a, b) for a, b in pairs if _one_in_the_other(paths[a], paths[b])]
    for a, b in inside:
        text = f"{a} and {b} lie in each other: {paths[a]}, {paths[b]}"
        yield fail("folders", text, "give each a folder of its own")
    if not inside:
        yield ok("folders", "results, cache and store are apart")


def secrets(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Secrets that are not set, that stand in a settings file, or that every account can read."""
    name, found = f"secrets of {settings.service}", []
    places = settings.places
    files = [places.global_env(), places.service_env(settings.service), *_secret_files(settings)]
    for path in dict.fromkeys(file for file in files if file is not None):
        if path.stat().st_mode & OTHERS_READ:
            text = f"{places.short(path)} can be read by other accounts of this machine"
            found.append(warn(name, text, f"chmod 600 {path}"))
    for layer in settings.layers:
        for key, value in flatten(layer.values) if layer.name.endswith(".toml") else ():
            if any(_is_literal_secret(key, str(text)) for text in _listed(value)):
                text = f"{key} stands in {layer.name} as it is"
                found.append(
                    fail(name, text, f"write {{secret:NAME}} there, and NAME into {places.root}/.env")
                )
    known = secrets_of(settings, environ)
    for secret, where in _named_secrets(settings):
        if _missing(known, secret):
            text = f"{secret}, named by {where}, is not set"
            found.append(fail(name, text, "set it in .env, in the environment or in data.secrets"))
    yield from found or [ok(name, "set, and nobody else can read them")]


def channels(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Ways to reach people that lead nowhere."""
    notify, name, found = settings.notify, f"messages of {settings.service}", []
    if notify.mail_to and not notify.smtp_host:
        text = "notify.mail_to names people and notify.smtp_host is empty: no mail is ever sent"
        found.append(fail(name, text, "name the mail server"))
    if notify.smtp_user and not notify.smtp_password:
        text = "notify.smtp_user is set and notify.smtp_password is empty: the server will refuse the login"
        found.append(fail(name, text, "set it as {secret:SMTP_PASSWORD}"))
    known = secrets_of(settings, environ)
    for place, address in enumerate(notify.webhooks):
        problem = webhook_problem(address, known)
        if problem:
            found.append(fail(name, f"notify.webhooks, number {place + 1}: {problem}", "correct it"))
    folder = (settings.places.root / Path(notify.prometheus).expanduser()).parent
    if notify.prometheus and not folder.is_dir():
        text = f"notify.prometheus names a file in {folder}, which does not exist"
        found.append(fail(name, text, "make the folder, writable by the account that runs"))
    yield from found or [ok(name, "none is asked for" if not _tells(settings) else "well-formed")]


def _tells(settings: Settings) -> bool:
    notify = settings.notify
    return bool(notify.mail_to or notify.webhooks or notify.ping or notify.prometheus)


def _runs(member: str) -> bool:
    try:
        member_class(member)
    except NotInstalledError:
        return False
    return True


def _clash(
    every: Sequence[Settings],
    place: Callable[[Settings], str],
    owner: Callable[[Settings], object],
    text: str,
    action: str,
) -> list[Finding]:
    """A finding per place with several owners."""
    at: dict[str, list[Settings]] = defaultdict(list)
    for settings in every:
        at[place(settings)].append(settings)
    several = [group for group in at.values() if len({owner(s) for s in group}) > 1]
    names = [", ".join(s.service for s in group) for group in several]
    return [fail("shared places", f"{who}: {text}", action) for who in names]


def _ledger_of(settings: Settings) -> str:
    return settings.ledger.url or str(settings.output_folder)


def _one_in_the_other(a: Path, b: Path) -> bool:
    return a.is_relative_to(b) or b.is_relative_to(a)


def _secret_files(settings: Settings) -> list[Path]:
    """Files of the secrets directory; those that a container mounts are nobody else's."""
    folder = settings.secrets_folder
    if folder is None or not folder.is_dir() or folder.is_relative_to("/run"):
        return []
    return sorted(path for path in folder.iterdir() if path.is_file())


def _is_literal_secret(key: str, value: str) -> bool:
    """A password that is no placeholder, alone or inside an address."""
    return bool(value) and not names_in(value) and bool(key.endswith("password") or _PASSWORD.search(value))


def _named_secrets(settings: Settings) -> dict[tuple[str, str], None]:
    """Every ``{secret:NAME}`` of the settings and of the target, with where it stands."""
    found: dict[tuple[str, str], None] = {}
    for key, value in flatten(settings.table()):
        for text in _listed(value):
            found |= dict.fromkeys((name, key) for name in names_in(str(text)))
    if settings.target_path.is_file():
        lines = settings.target_path.read_text(encoding="utf-8", errors="replace").splitlines()
        text = "\n".join(line for line in lines if not re.match(r"\s*#", line))
        found |= dict.fromkeys((name, settings.target) for name in names_in(text))
    return found


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _missing(known: Secrets, name: str) -> bool:
    try:
        known.get(name)
    except ConfigError:
        return True
    return False
