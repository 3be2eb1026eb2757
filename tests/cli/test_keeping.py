import json
from pathlib import Path

import pytest

from horizoncast.cli import main
from loopback import Loopback, Reply

TARGET = """
name = "t"
unit = "u"
start = "2024-01-01"
[source]
type = "http_csv"
url = "{url}/x"
value_column = "v"
[calendar]
kind = "business"
"""


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_pull_shows_a_table_and_fails_with_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replies = [
        Reply(b"date,v\n2024-07-30,1\n2024-07-31,2\n"),
        Reply(b"date,v\n2024-07-31,2.5\n"),
        Reply(status=404),
    ]
    with Loopback(lambda asked: replies.pop(0)) as server:
        target = tmp_path / "t.toml"
        target.write_text(TARGET.format(url=server.url))
        where = ("data", "pull", str(target), "--root", str(tmp_path), "--store", str(tmp_path / "s"))
        assert call(*where) == 0
        shown = capsys.readouterr().out
        assert "t: pull 1" in shown and "updated" in shown and "2024-07-31" in shown
        assert call(*where, "--json", "--now") == 0
        (result,) = json.loads(capsys.readouterr().out)
        assert len(result["report"]["sources"][0]["revised"]) == 1 and (tmp_path / "s/t.sqlite").is_file()
        assert call(*where) == 0 and "recent" in capsys.readouterr().out
        assert call(*where, "--now") == 3
        assert "status 404" in capsys.readouterr().err


def test_pull_of_local_targets_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "t.toml"
    target.write_text(
        'name = "t"\nunit = "u"\n[source]\ntype = "ecb"\npair = "USDMXN"\n[calendar]\nkind = "business"\n'
    )
    assert call("data", "pull", str(target), "--root", str(tmp_path)) == 0
    assert "nothing to pull" in capsys.readouterr().err and not (tmp_path / "store").exists()


def test_prune_says_what_would_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "store" / "raw" / "t" / "ab"
    raw.mkdir(parents=True)
    (raw / "abcd.gz").write_bytes(b"x")
    (raw / "abcd.json").write_text('{"at": "2020-01-01T00:00:00"}')
    assert call("data", "prune", "--dry-run", "--root", str(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "first seen 2020-01-01" in shown and "would go" in shown and (raw / "abcd.gz").exists()
    assert call("data", "prune", "--json", "--root", str(tmp_path)) == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 1 and list(raw.iterdir()) == []
