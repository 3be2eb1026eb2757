"""The Grafana dashboard asks for what the textfile holds, and for all of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from horizoncast.service.ledgers import open_ledger
from horizoncast.service.prometheus import HELP, textfile
from horizoncast.service.settings import load_settings
from ledger_runs import a_record, commit

BOARD: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "grafana" / "horizoncast.json").read_text(
        encoding="utf-8"
    )
)
WORDS = {"time", "on"}


def expressions() -> Iterator[str]:
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (v["query"]["query"] for v in BOARD["templating"]["list"] if v["type"] == "query")


def metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bhorizoncast_\w+", expression))


def test_every_metric_of_a_query_is_written_and_every_metric_is_shown() -> None:
    asked = {name for expression in expressions() for name in metrics(expression)}
    assert asked == set(HELP)


def test_labels_of_queries_are_those_of_the_file(tmp_path: Path) -> None:
    settings = load_settings("forecaster_7d", root=tmp_path, environ={})
    ledger = open_ledger(settings)
    commit(ledger, settings.output_folder, a_record())
    written = textfile(ledger)
    known = {
        name: set(re.findall(r'(\w+)="', line))
        for line in written.splitlines()
        if not line.startswith("#")
        for name in metrics(line)
    }
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            (first, *_) = sorted(metrics(target["expr"]), key=target["expr"].index)
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            selected = set(re.findall(r"(\w+)=~", target["expr"]))
            if first in known:  # nothing has failed in this ledger
                assert labels | selected <= known[first], panel["title"]


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        assert panel["title"] and panel["targets"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_no_data_source_of_one_machine_is_named() -> None:
    text = json.dumps(BOARD)
    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"horizoncast", "${datasource}"}
