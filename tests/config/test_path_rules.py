"""Which values of a config are paths, and which of them are refused."""

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from daemon.config.config_paths import Finding, check, refuse_sample
from daemon.config.described import Described
from daemon.config.path_keys import Kind, named_in
from daemon.config.validation import Validator
from daemon.errors import ForbiddenError
from daemon.paths import Roots

OUTSIDE = "/etc/outside"
SCHEMA: dict[str, Any] = {"type": "object"}


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "state/runs/000001-abcd/secrets").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    return Roots([tmp_path, tmp_path / "state"], tmp_path, tmp_path / "state")


def errors(config: dict[str, Any], roots: Roots) -> list[str]:
    return [found.line for found in check({"concepts": [], "samples": [], **config}, SCHEMA, roots) if found.is_error]


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        *(({key: OUTSIDE}, f"/{key}") for key in (
            "workspace_dir", "cache_dir", "debug_dir", "huggingface_cache_dir", "output_model_destination", "base_model_name",
            "lora_model_name", "vae_model_name", "prior_model_name", "decoder_model_name", "effnet_encoder_model_name", "__preset",
            "concept_file_name", "sample_definition_file_name", "save_filename_prefix", "some_future_path", "some_future_dir",
        )),
        *(({part: {"model_name": OUTSIDE}}, f"/{part}/model_name") for part in (
            "unet", "prior", "transformer", "unconditional_transformer", "text_encoder", "text_encoder_4", "vae", "effnet_encoder",
            "decoder", "decoder_text_encoder", "decoder_vqgan", "embedding",
        )),
        ({"additional_embeddings": [{}, {"model_name": OUTSIDE}]}, "/additional_embeddings/1/model_name"),
        ({"embedding_model_names": ["a", OUTSIDE]}, "/embedding_model_names/1"),
        ({"quantization": {"cache_dir": OUTSIDE}}, "/quantization/cache_dir"),
        ({"concepts": [{"path": OUTSIDE}]}, "/concepts/0/path"),
        ({"concepts": [{"path": OUTSIDE, "enabled": False}]}, "/concepts/0/path"),
        ({"concepts": [{"path": "images", "text": {"prompt_path": OUTSIDE}}]}, "/concepts/0/text/prompt_path"),
        ({"concepts": [{"path": "images", "text": {"tag_dropout_special_tags": "/etc/x.csv"}}]},
         "/concepts/0/text/tag_dropout_special_tags"),
        ({"samples": [{"base_image_path": OUTSIDE}]}, "/samples/0/base_image_path"),
        ({"samples": [{"mask_image_path": OUTSIDE}]}, "/samples/0/mask_image_path"),
        ({"samples": [{"prompt": OUTSIDE}], "training_method": "FINE_TUNE_VAE"}, "/samples/0/prompt"),
        ({"secrets": {"cloud": {"key_file": OUTSIDE}}}, "/secrets/cloud/key_file"),
        ({"__config_values": {"vae.model_name": OUTSIDE, "cloud.remote_dir": OUTSIDE}}, "/__config_values/vae.model_name"),
        ({"__config_values": {"training_method": "FINE_TUNE_VAE"}, "samples": [{"prompt": OUTSIDE}]}, "/samples/0/prompt"),
        ({"__preset": {"base_model_name": OUTSIDE, "vae": {"model_name": "x"}}}, "/__preset/base_model_name"),
    ],
)  # fmt: skip
def test_a_path_outside_the_roots_is_refused_wherever_it_stands(config: dict[str, Any], pointer: str, roots: Roots) -> None:
    [line] = errors(config, roots)
    assert line.startswith(f"{pointer}: ")


@pytest.mark.parametrize(
    "text",
    [
        "../../etc", "/etc", "images/../../../../../etc/passwd", "..\\..\\etc\\passwd", "images\\..\\..\\..\\x", "~/../../etc", "~root/x",
        "~nobody-is-called-so/x", "\0", "a\0b", "x" * 300, "x/" * 3000, "\ud800", "link", "link/passwd", "deep/../../outside",
        "loop", "pipe", "images\\..\\pipe", "socket", "/proc/self/environ", "/dev/zero", "/dev/fd/0", ".ssh/id", "images/.hidden/x",
        "state/runs/000001-abcd/secrets/secrets.json", "state/tokens.json", "state/audit.jsonl.3", "state/token",
        "state/current.secrets.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["workspace_dir", "concept_file_name"])
def test_what_leads_out_or_is_no_file_is_refused(key: str, text: str, roots: Roots, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "deep").symlink_to("/usr/share")  # for the kernel deep/.. is /usr, for those who tidy up first it is here
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    assert errors({key: text}, roots), text


@pytest.mark.parametrize(
    "text",
    [
        "runwayml/stable-diffusion-v1-5", "stabilityai/sdxl-turbo", "gpt2", "models/sd15.safetensors", "https://huggingface.co/a/b/c.safetensors",
        "images", "new/folder", "two  spaces", "trailing. ", "100%25", "ünïcode/модель", "a..b", "...", "",
        "state/workspace", ".cache/huggingface/hub/model",
    ],
)  # fmt: skip
def test_names_on_the_hub_and_paths_inside_are_let_through(text: str, roots: Roots) -> None:
    assert errors({"base_model_name": text}, roots) == []


def test_a_hub_name_that_is_a_link_out_of_the_roots_here_is_a_path(roots: Roots, tmp_path: Path) -> None:
    (tmp_path / "runwayml").symlink_to("/etc")
    assert errors({"base_model_name": "runwayml/model"}, roots)


def test_a_hub_name_needs_no_root_and_a_path_does(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    elsewhere = Roots([tmp_path / "root"], tmp_path)
    assert errors({"base_model_name": "user/model"}, elsewhere) == []
    assert errors({"base_model_name": "user/model/file"}, elsewhere)


def test_a_data_set_on_the_hub_is_a_warning_where_the_trainer_knows_the_hub(roots: Roots) -> None:
    config = {"concepts": [{"path": "user/pictures"}], "samples": []}
    assert list(check(config, SCHEMA, roots)) == [
        Finding('/concepts/0/path: "user/pictures" is no folder here; it is looked for on the Hugging Face hub', is_error=False)
    ]
    [found] = check(config, {"x-ignored": ["base_model_name"]}, roots)
    assert (found.is_error, "is not a folder" in found.line) == (True, True)


def test_paths_of_another_machine_are_not_this_ones(roots: Roots) -> None:
    cloud = {"remote_dir": "/workspace", "onetrainer_dir": "/workspace/OneTrainer", "huggingface_cache_dir": "/x", "name": "../x"}
    assert errors({"cloud": cloud}, roots) == []


def test_a_root_above_them_opens_no_devices_and_a_root_among_them_does() -> None:
    whole = Roots([Path("/")], Path("/"))
    assert all(errors({"workspace_dir": path}, whole) for path in ("/proc/self", "/dev/shm/x", "/sys/kernel"))
    assert errors({"workspace_dir": "/srv/x"}, whole) == []
    assert errors({"workspace_dir": "/dev/shm/x"}, Roots([Path("/dev/shm")], Path("/"))) == []


def test_a_hidden_folder_that_is_a_root_itself_is_open(tmp_path: Path) -> None:
    (tmp_path / ".state").mkdir()
    both = Roots([tmp_path, tmp_path / ".state"], tmp_path)
    assert errors({"workspace_dir": ".state/work"}, both) == []
    assert errors({"workspace_dir": ".state/.work"}, both)


def test_the_daemons_own_private_files_are_closed_wherever_they_lie(tmp_path: Path) -> None:
    key = tmp_path / "tls/key.pem"
    closed = Roots([tmp_path], tmp_path, tmp_path / "state", [key])
    with pytest.raises(ForbiddenError) as caught:
        closed.resolve("tls/key.pem", "config_path")
    assert caught.value.code == "private_path"
    assert closed.resolve("tls/cert.pem", "config_path") == tmp_path / "tls/cert.pem"


def test_a_prompt_that_is_a_picture_is_refused_outside_the_roots(roots: Roots) -> None:
    with pytest.raises(ForbiddenError, match="prompt: '/etc/outside' is outside"):
        refuse_sample({"prompt": OUTSIDE}, {"training_method": "FINE_TUNE_VAE"}, roots)
    refuse_sample({"prompt": OUTSIDE}, {"training_method": "LORA"}, roots)
    refuse_sample({"prompt": "images/a.png"}, {"training_method": "FINE_TUNE_VAE"}, roots)


def test_no_more_paths_are_looked_at_than_are_worth_it(roots: Roots) -> None:
    config = {"concepts": [{"path": "images"}] * 10_001}
    assert errors(config, roots) == ["(config): it names more than 10000 paths"]


def test_values_of_the_wrong_type_and_deep_nonsense_raise_nothing(roots: Roots) -> None:
    config = {"workspace_dir": 5, "a": [[[{"x_path": [["/etc"]]}]]], "": "", "concepts": [None, {"path": None}], "cloud": "x"}
    assert len(errors(config, roots)) == 1


@pytest.mark.skipif("ONETRAINER_HOME" not in os.environ, reason="OneTrainer is not here")
def test_every_key_of_onetrainer_that_looks_like_a_path_is_judged() -> None:
    """Read from its source: a release that adds one is caught here."""
    folder = Path(os.environ["ONETRAINER_HOME"]) / "modules/util/config"
    found = {name for file in folder.glob("*.py") for name in re.findall(r'data\.append\(\("(\w+)"', file.read_text())}
    suspicious = {name for name in found if re.search(r"path|dir|file(?!ter)|destination|folder|prefix|_name\b", name)}
    known_not_to_be = {"remote_dir", "onetrainer_dir", "include_subdirectories", "file_sync", "update_onetrainer", "install_onetrainer"}
    judged = {name for name in suspicious if any(True for _ in named_in({name: "x"}))}
    assert suspicious - judged <= known_not_to_be | {"layer_filter", "layer_filter_preset", "layer_filter_regex"}, suspicious - judged


def test_what_onetrainer_writes_is_told_from_what_it_reads() -> None:
    text = json.dumps({"workspace_dir": "a", "prompt_path": "b", "base_model_name": "c", "save_filename_prefix": "d", "path": "e"})
    assert [named.kind for named in named_in(json.loads(text))] == [Kind.WRITTEN, Kind.READ, Kind.MODEL, Kind.NAME_PART, Kind.DATASET]


def test_a_hundred_other_errors_hide_no_path_that_is_refused(roots: Roots) -> None:
    config = {"concepts": [{"path": f"none-{number}"} for number in range(200)], "zzz_path": OUTSIDE}
    [refused] = Validator(lambda: Described("builtin", SCHEMA), roots).validate(config).refused
    assert refused.startswith("/zzz_path: ")
