"""Fetching against a hub on this machine that answers as told."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chronos_checkpoints import make_bolt
from horizoncast.errors import ConfigError, StoreError
from horizoncast.models.chronos import fetch
from horizoncast.models.chronos.fetch import fetch_model, put_in_place
from horizoncast.models.chronos.folder import verify
from horizoncast.models.chronos.places import place_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "amazon/chronos-bolt-tiny"


class Hub:
    """The three questions the library asks: what there is, how long a file is, and the file."""

    def __init__(
        self, files: dict[str, bytes], *, repo: str = REPO, licence: str | None = "apache-2.0"
    ) -> None:
        self.files, self.repo, self.licence = dict(files), repo, licence
        self.commit, self.stated = COMMIT, {n: hashlib.sha256(b).hexdigest() for n, b in files.items()}
        self.asked: list[tuple[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def answer(self, handler: BaseHTTPRequestHandler, *, body: bool) -> None:
        self.asked.append((handler.command, handler.path))
        path = handler.path.split("?")[0]
        status, headers, content = 404, {}, b"{}"
        file = re.fullmatch(rf"/{self.repo}/resolve/{self.commit}/(.+)", path)
        if re.fullmatch(rf"/api/models/{self.repo}(/revision/(main|v1|{self.commit}))?", path):
            status, content = 200, json.dumps(self.facts()).encode()
        elif path.startswith(f"/api/models/{self.repo}/revision/"):
            headers = {"X-Error-Code": "RevisionNotFound"}
        elif path.startswith("/api/models/"):
            headers = {"X-Error-Code": "RepoNotFound"}
        elif file and file[1] in self.files:
            status, content = 200, self.files[file[1]]
            headers = {"ETag": f'"{self.stated[file[1]]}"', "X-Repo-Commit": self.commit}
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if body:
            handler.wfile.write(content)

    def facts(self) -> dict[str, object]:
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": "x",
             **({"lfs": {"sha256": self.stated[name], "size": len(data), "pointerSize": 1}}
                if name.endswith("safetensors") else {})}
            for name, data in self.files.items()
        ]  # fmt: skip
        card = {"license": self.licence} if self.licence else {}
        return {
            "id": self.repo, "modelId": self.repo, "sha": self.commit, "siblings": siblings,
            "lastModified": "2025-02-03T04:05:06.000Z", "cardData": card, "tags": [], "downloads": 0,
            "private": False,
        }  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin")
    make_bolt(folder)
    kept = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    return kept | {"README.md": b"# card", "pytorch_model.bin": b"\x80\x04."}


@pytest.fixture
def start(monkeypatch) -> Iterator:
    hubs = []

    def begin(files, **more) -> Hub:
        hubs.append(Hub(files, **more))
        monkeypatch.setenv("HF_ENDPOINT", hubs[-1].url)
        return hubs[-1]

    yield begin
    for hub in hubs:
        hub.close()


def downloads(hub):
    return sorted(
        {path.rsplit("/", 1)[1] for verb, path in hub.asked if verb == "GET" and "/resolve/" in path}
    )


def test_a_model_is_fetched_once_pinned_and_whole(files, start, tmp_path):
    hub = start(files)
    found = fetch_model(REPO, tmp_path, progress=False)
    assert found.downloaded
    assert found.folder == place_of(tmp_path, REPO)
    manifest = verify(found.folder)
    assert manifest == found.manifest
    assert (manifest.name, manifest.revision, manifest.licence) == (REPO, COMMIT, "apache-2.0")
    assert str(manifest.trained_until)[:10] == "2024-11-26"
    assert sorted(p.name for p in found.folder.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]
    assert downloads(hub) == ["config.json", "model.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == [found.folder.name]
    hub.asked.clear()
    assert not fetch_model(REPO, tmp_path, progress=False).downloaded
    assert downloads(hub) == []
    hub.asked.clear()
    assert not fetch_model(REPO, tmp_path, revision=COMMIT, progress=False).downloaded
    assert hub.asked == []


def test_a_newer_commit_replaces_the_model(files, start, tmp_path):
    hub = start(files)
    fetch_model(REPO, tmp_path, progress=False)
    hub.commit = "f" * 40
    assert fetch_model(REPO, tmp_path, progress=False).manifest.revision == "f" * 40
    assert [p.name for p in tmp_path.iterdir()] == [place_of(tmp_path, REPO).name]


def test_a_damaged_model_is_fetched_again(files, start, tmp_path):
    start(files)
    place = fetch_model(REPO, tmp_path, progress=False).folder
    (place / "model.safetensors").write_bytes(b"torn")
    assert fetch_model(REPO, tmp_path, progress=False).downloaded
    assert verify(place)


def test_a_model_that_cannot_be_replaced_stays(tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot put"):
        put_in_place(tmp_path / "nothing", place)
    assert (place / "config.json").exists()


def test_what_a_card_does_not_state_is_recorded_as_such(files, start, tmp_path):
    start(files, repo="me/own", licence=None)
    manifest = fetch_model("me/own", tmp_path, progress=False).manifest
    assert manifest.licence == "not stated"
    assert str(manifest.trained_until)[:10] == "2025-02-03"  # the day of the commit


def test_pickled_weights_alone_are_not_fetched(files, start, tmp_path):
    hub = start({name: files[name] for name in ("config.json", "pytorch_model.bin")})
    with pytest.raises(StoreError, match=r"has no model\.safetensors"):
        fetch_model(REPO, tmp_path, progress=False)
    assert downloads(hub) == []


def test_another_class_costs_no_download_of_weights(files, start, tmp_path):
    config = json.loads(files["config.json"]) | {"architectures": ["T5ForConditionalGeneration"]}
    hub = start({**files, "config.json": json.dumps(config).encode()})
    with pytest.raises(StoreError, match="T5ForConditionalGeneration"):
        fetch_model(REPO, tmp_path, progress=False)
    assert downloads(hub) == ["config.json"]
    assert not place_of(tmp_path, REPO).exists()


def test_what_arrives_is_held_against_the_hubs_digest(files, start, tmp_path):
    hub = start(files)
    hub.files["model.safetensors"] = files["model.safetensors"][:-4] + b"abcd"
    with pytest.raises(StoreError, match="did not arrive as the hub states it"):
        fetch_model(REPO, tmp_path, progress=False)
    assert not place_of(tmp_path, REPO).exists()


@pytest.mark.parametrize(
    ("repo", "revision", "reason"),
    [
        ("amazon/nothing", None, "no such repository; got amazon/nothing.*amazon/chronos-2"),
        (REPO, "v9", "no such revision"),
        ("chronos-bolt-tiny", None, "allowed: owner/name"),
        ("../etc/passwd", None, "allowed: owner/name"),
    ],
)
def test_wrong_names_are_told(files, start, tmp_path, repo, revision, reason):
    start(files)
    with pytest.raises(ConfigError, match=reason):
        fetch_model(repo, tmp_path, revision=revision, progress=False)


def test_no_network_is_one_clear_message_after_one_question(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"http://127.0.0.1:9 cannot be reached.*checkpoint that ships"):
        fetch_model(REPO, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_never_answers_is_given_up(monkeypatch, tmp_path):
    """Looking up a name can hang for minutes, whatever time-outs a request has."""
    over = threading.Event()
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.05)
    monkeypatch.setattr(fetch, "_look", lambda *_: over.wait(20))
    with pytest.raises(StoreError, match="no answer within"):
        fetch_model(REPO, tmp_path, progress=False)
    over.set()


def test_offline_is_respected(files, start, tmp_path, monkeypatch):
    import huggingface_hub.constants

    hub = start(files)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StoreError, match="HF_HUB_OFFLINE forbids fetching"):
        fetch_model(REPO, tmp_path, progress=False)
    assert hub.asked == []
