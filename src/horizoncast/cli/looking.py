"""`target new`, `config explain` and `doctor`: commands that compute no forecast."""

from __future__ import annotations

import json as json_package
import os
import sys
from pathlib import Path

import typer

from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.errors import ConfigError


def target_new(file: Path, out: Path | None) -> None:
    """Print or write a proposal; an existing file is never overwritten."""
    from horizoncast.data.wizard import propose_target
    from horizoncast.store.atomic import write_atomic

    if out is not None and out.exists():
        raise ConfigError("the file exists already", value=out, action="name another one")
    text = propose_target(file)
    if out is None:
        sys.stdout.write(text)
        return
    write_atomic(out, lambda handle: handle.write(text.encode()))
    sys.stderr.write(f"written: {out}; read it, correct it, then: horizoncast data check {out}\n")


def config_explain(service: str | None, common: Common, *, json: bool) -> None:
    """Show every setting of one service or of all."""
    from horizoncast.service.explain import explain

    names = common.places().services() if service is None else (service,)
    found = {name: explain(common.settings(name)) for name in names}
    if json:
        print_json({name: [vars(item) for item in items] for name, items in found.items()})
        return
    screen = Screen(as_json=False, quiet=False)
    for name, items in found.items():
        rows = [(item.key, _value(item.value), item.layer) for item in items]
        screen.table(name, ("setting", "value", "set by"), rows)


def doctor(common: Common, *, json: bool) -> None:
    """Show findings; a failing one ends with the exit code of a wrong configuration."""
    from horizoncast.service.doctor import examine, worst
    from horizoncast.service.findings import Level

    findings = examine(common.places(), os.environ)
    if json:
        print_json({"worst": worst(findings), "findings": findings})
    else:
        screen = Screen(as_json=False, quiet=False)
        rows = [(f.level, f.check, f"{f.text}; {f.action}" if f.action else f.text) for f in findings]
        screen.table("doctor", ("", "looked at", "found"), rows)
    if worst(findings) is Level.FAIL:
        raise typer.Exit(ConfigError.exit_code)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json_package.dumps(value)
