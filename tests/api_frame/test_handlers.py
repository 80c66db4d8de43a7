"""The handlers of /config and /system over the real services and a real folder."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from daemon.api import config
from daemon.api.frame import make_app
from daemon.api.keys import PRESETS
from daemon.config.presets import Presets
from daemon.settings.model import Settings
from tests.api_frame.conftest import Serve, Server, book_of
from tests.api_frame.services import Guard, ask, with_services


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
async def server(serve: Serve, tmp_path: Path, guard: Guard) -> Server:
    return await with_services(serve, tmp_path, guard)


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_preset_is_saved_changed_listed_and_deleted(server: Server, prefix: str) -> None:
    path = f"{prefix}/config/presets/%23my%20pr%C3%A4set"
    assert (await ask(server, "GET", path)).status == 404
    saved = await ask(server, "POST", path, json={"config": {"a": {"b": 1}}})
    assert (saved.status, saved.json["success"], saved.json["config"]) == (200, True, {"a": {"b": 1}})
    await ask(server, "POST", path, json={"config": {"a": {"c": 2}}, "partial": True})
    assert (await ask(server, "GET", path)).json == {"config": {"a": {"b": 1, "c": 2}}}
    listed = (await ask(server, "GET", f"{prefix}/config/presets")).json
    assert [(preset["name"], preset["source"]) for preset in listed["presets"]] == [("#my präset", "user"), ("digits", "builtin")]
    assert listed["count"] == 2
    assert (await ask(server, "DELETE", path)).json["success"] is True
    assert (await ask(server, "DELETE", path)).status == 404


async def test_built_in_presets_are_a_conflict_and_bad_names_a_400(server: Server) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [("POST", {"json": {"config": {}}}), ("DELETE", {})]
    for method, options in calls:
        assert (await ask(server, method, "/config/presets/digits", **options)).status == 409
        for name in ("..%2Fx", "%2Fetc%2Fpasswd", ".x", "%00", "%0a", "a" * 201):
            answer = await ask(server, method, f"/config/presets/{name}", **options)
            assert (answer.status, answer.json["details"]["code"]) == (400, "bad_name")


NAMES = [
    "#sd 1.5 LoRA",
    "100%",
    "%23",
    "a+b & c=d;e",
    "größe 世界 🎨",
    "v1.2.3",
    "what?",
    "a\\b",
    "~",
    "x" * 200,
    "'\"<b>",
    "../x",
    "%2e%2e",
]


async def test_each_preset_is_read_changed_and_deleted_by_the_url_that_the_list_tells(server: Server, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        for category in ("SD 1.5/#1", "ünï%"):
            path = f"/config/presets/{quote(name, safe='')}?category={quote(category, safe='')}"
            saved = await ask(server, "POST", path, json={"config": {"number": number, "category": category}})
            assert saved.status == (400 if "/" in name else 200), saved.json
    listed = [one for one in (await ask(server, "GET", "/config/presets")).json["presets"] if one["origin"] == "user"]
    assert sorted((one["name"], one["category"]) for one in listed) == sorted(
        (name, category) for name in NAMES if "/" not in name for category in ("SD 1.5/#1", "ünï%")
    )
    for one in listed:
        got = (await ask(server, "GET", one["url"])).json["config"]
        assert got == {"number": NAMES.index(one["name"]), "category": one["category"]} == json.loads(Path(one["path"]).read_bytes())
        assert (await ask(server, "POST", one["url"], json={"config": {"more": 1}, "partial": True})).json["config"] == {**got, "more": 1}
        assert (await ask(server, "DELETE", one["url"])).status == 200
    assert list((tmp_path / "presets").iterdir()) == []


@pytest.mark.skipif("ONETRAINER_HOME" not in os.environ, reason="OneTrainer is not here")
async def test_every_preset_that_onetrainer_ships_comes_unchanged_through_its_url(serve: Serve, tmp_path: Path) -> None:
    folder = Path(os.environ["ONETRAINER_HOME"]) / "training_presets"
    app = make_app(Settings(state_dir=tmp_path), book_of(tmp_path), config.ROUTES)
    app[PRESETS] = Presets(tmp_path / "presets", tmp_path / "builtin", [folder])
    server = await serve(app=app)
    listed = (await ask(server, "GET", "/config/presets")).json["presets"]
    assert {one["path"] for one in listed} == {str(path) for path in folder.rglob("*.json") if path.name != "#.json"}
    for one in listed:
        shipped = json.loads(Path(one["path"]).read_bytes())
        assert (await ask(server, "GET", one["url"])).json["config"] == shipped
        copy = f"/config/presets/{quote('my ' + one['name'], safe='')}?category={quote(one['category'], safe='')}"
        await ask(server, "POST", copy, json={"config": shipped})
        assert (await ask(server, "GET", f"{copy}&origin=user")).json["config"] == shipped
        assert (await ask(server, "DELETE", one["url"])).json["details"]["code"] == "builtin_preset"


async def test_the_difference_to_the_defaults_and_to_a_preset_is_told(server: Server) -> None:
    await ask(
        server, "PUT", "/config/current", json={"config": {"epochs": 3, "optimizer": {"name": "ADAM"}, "list": [1], "secrets": {"a": "b"}}}
    )
    answer = (await ask(server, "GET", "/config/diff")).json
    assert answer == {
        "base": "defaults", "config": "current", "count": 3,
        "changes": [
            {"pointer": "/epochs", "kind": "changed", "from": 1, "to": 3},
            {"pointer": "/optimizer", "kind": "added", "from": None, "to": {"name": "ADAM"}},
            {"pointer": "/list", "kind": "added", "from": None, "to": [1]},
        ],
    }  # fmt: skip
    told = (await ask(server, "GET", "/config/diff?base=preset:builtin/digits")).json["changes"]
    assert told[0] == {"pointer": "/epochs", "kind": "changed", "from": 2, "to": 3}
    assert (await ask(server, "GET", "/config/diff?base=preset:digits&config=preset:digits")).json["changes"] == []
    assert (await ask(server, "GET", "/config/presets/digits?with_defaults=true")).json == {"config": {"epochs": 2}}
    for query, status in (("base=what", 400), ("base=preset:none", 404), ("base=preset:../x", 400), ("config=preset:", 400)):
        assert (await ask(server, "GET", f"/config/diff?{query}")).status == status, query


async def test_a_folder_of_presets_must_lie_in_the_roots(server: Server, tmp_path: Path) -> None:
    assert (await ask(server, "GET", "/config/presets?config_dir=builtin")).json["count"] == 1
    assert (await ask(server, "GET", "/config/presets/digits?config_dir=builtin")).json == {"config": {"epochs": 2}}
    refused = await ask(server, "GET", "/config/presets?config_dir=/etc")
    assert (refused.status, refused.json["details"]["code"], refused.json["details"]["roots"]) == (403, "outside_roots", [str(tmp_path)])
    assert (await ask(server, "GET", "/config/presets?config_dir=missing")).status == 404


async def test_the_current_config_is_put_and_got_but_not_changed_while_training(server: Server, guard: Guard) -> None:
    assert (await ask(server, "GET", "/config/current")).status == 404
    assert (await ask(server, "PUT", "/config/current", json={"config": {"a": {"b": 1}}, "partial": False})).json["config"] == {
        "a": {"b": 1}
    }
    assert (await ask(server, "PUT", "/config/current", json={"config": {"a": {"c": 1}}, "partial": True})).status == 200
    assert (await ask(server, "GET", "/config/current")).json == {"config": {"a": {"b": 1, "c": 1}}}
    guard.training = True
    refused = await ask(server, "PUT", "/config/current", json={"config": {}})
    assert (refused.status, refused.json["details"]["code"]) == (409, "run_active")
    assert (await ask(server, "GET", "/config/current")).json == {"config": {"a": {"b": 1, "c": 1}}}


async def test_a_validation_is_always_200_for_an_object(server: Server) -> None:
    answer = await ask(server, "POST", "/config/validate", json={"config": {"epochs": "x", "epoch": 1}})
    assert (answer.status, answer.json["valid"], answer.json["warnings"]) == (200, False, ["/epoch: no such key; did you mean epochs?"])
    assert answer.json["errors"] == ['/epochs: "x" is not an integer']
    assert (await ask(server, "POST", "/config/validate", json={"config": []})).status == 400


async def test_the_machine_and_the_models_are_told(server: Server) -> None:
    info = (await ask(server, "GET", "/system/info")).json
    assert info["gpus"][0]["utilization"] is None
    models = (await ask(server, "GET", "/system/models")).json
    assert models["count"] == len(models["models"]) > 20
