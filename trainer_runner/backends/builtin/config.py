"""The built-in trainer's config: OneTrainer's own key names, read strictly, and described as a JSON Schema. Imports no torch."""
# ruff: noqa: RUF009 - option() is dataclasses.field(), which this rule knows by its own name alone

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainer_runner.backends.builtin import onetrainer_keys
from trainer_runner.backends.builtin.options import keys, option, read, schema
from trainer_runner.trainer.backend import ConfigError

TimeUnit = Literal["EPOCH", "STEP", "SECOND", "MINUTE", "HOUR", "NEVER", "ALWAYS"]
_ANNOTATIONS = frozenset({"__version"})
# A path must not be empty; a prefix is part of a file's name, and files that begin with a dot are not seen as samples.
_PATH, _PREFIX = r"\S", r"^(?!\.)[^/\\]{0,64}$"


@dataclass(frozen=True)
class ConceptConfig:
    path: str = option("", "Folder of images, each with a caption in a .txt file of the same name.")
    name: str = option("", "For people.")
    enabled: bool = option(True, "Whether it is used.")
    type: Literal["STANDARD", "VALIDATION", "PRIOR_PREDICTION"] = option("STANDARD", "Only STANDARD is trained on.")
    include_subdirectories: bool = option(False, "Whether the folders inside are read, too.")
    balancing: float = option(1.0, "See balancing_strategy.", minimum=0, maximum=1e6)
    balancing_strategy: Literal["REPEATS", "SAMPLES"] = option(
        "REPEATS", "An epoch takes each image `balancing` times, or `balancing` images."
    )


@dataclass(frozen=True)
class SampleConfig:
    prompt: str = option("", "What to draw.")
    negative_prompt: str = option("", "What to keep away from.")
    enabled: bool = option(True, "Whether it is drawn.")
    height: int = option(512, "Ignored: this model draws at its own resolution.", minimum=1, maximum=16384)
    width: int = option(512, "Ignored: this model draws at its own resolution.", minimum=1, maximum=16384)
    seed: int = option(42, "The same seed gives the same noise to begin from.", minimum=-(2**63), maximum=2**63 - 1)
    random_seed: bool = option(False, "Take a new seed each time; the sample's event says which.")
    diffusion_steps: int = option(20, "Steps from noise to image.", minimum=1, maximum=1000)
    cfg_scale: float = option(
        2.0, "Guidance: how far to go from the negative prompt towards the prompt; 1 is none.", minimum=0, maximum=100
    )


@dataclass(frozen=True)
class OptimizerConfig:
    optimizer: Literal["ADAMW", "ADAM", "SGD"] = option("ADAMW", "The algorithm.")
    beta1: "float | None" = option(None, "ADAM, ADAMW; null: 0.9.", minimum=0, maximum=0.999999)
    beta2: "float | None" = option(None, "ADAM, ADAMW; null: 0.999.", minimum=0, maximum=0.999999)
    eps: "float | None" = option(None, "ADAM, ADAMW; null: 1e-8.", minimum=1e-16, maximum=1)
    weight_decay: "float | None" = option(None, "null: 0.01 for ADAMW, 0 for the others.", minimum=0, maximum=10)
    momentum: "float | None" = option(None, "SGD; null: 0.9.", minimum=0, maximum=0.999999)


@dataclass(frozen=True)
class TrainConfig:
    model_type: onetrainer_keys.ModelType = option("BUILTIN", "Whatever stands here, the built-in model is trained.")
    training_method: Literal["FINE_TUNE", "LORA", "EMBEDDING", "FINE_TUNE_VAE"] = option(
        "FINE_TUNE", "All weights are trained in any case."
    )
    seed: int = option(0, "Weights, noise and order of the data follow from it.", minimum=0, maximum=2**32 - 1)
    epochs: int = option(40, "How often the data are gone through.", minimum=1, maximum=1_000_000)
    batch_size: int = option(32, "Images per batch; a last batch that is not full is left out.", minimum=1, maximum=65536)
    gradient_accumulation_steps: int = option(1, "Batches per optimizer step.", minimum=1, maximum=65536)
    learning_rate: float = option(2e-3, "The highest learning rate.", minimum=0, maximum=10)
    learning_rate_scheduler: Literal["CONSTANT", "LINEAR", "COSINE"] = option("CONSTANT", "How it falls after the warm-up.")
    learning_rate_min_factor: float = option(0.0, "LINEAR and COSINE end at this part of it.", minimum=0, maximum=1)
    learning_rate_warmup_steps: float = option(50.0, "Steps of warm-up; up to 1: as a part of all steps.", minimum=0, maximum=1e9)
    clip_grad_norm: "float | None" = option(1.0, "Gradients are scaled down to this norm; null: never.", minimum=0, maximum=1e9)
    optimizer: OptimizerConfig = option(OptimizerConfig, "The optimizer and its settings.")
    ema: Literal["OFF", "CPU", "GPU"] = option("OFF", "Average the weights, for samples and models; CPU and GPU mean the same here.")
    ema_decay: float = option(0.995, "How slowly the average follows.", minimum=0, maximum=1)
    ema_update_step_interval: int = option(1, "Optimizer steps between two updates of the average.", minimum=1, maximum=1_000_000)
    resolution: int = option(16, "Side of the images in pixels.", minimum=8, maximum=128, multiple_of=4, as_text=True)
    train_device: str = option("cpu", "Where to compute.", pattern=r"^(cpu|cuda(:[0-9]+)?|mps)$")
    dataloader_threads: int = option(2, "Threads that read images.", minimum=1, maximum=64)
    concepts: "tuple[ConceptConfig, ...] | None" = option(None, "What to learn from; null: as concept_file_name says.")
    concept_file_name: str = option("training_concepts/concepts.json", "A JSON list of concepts, read when concepts is null.")
    samples: "tuple[SampleConfig, ...] | None" = option(None, "What to draw; null: as sample_definition_file_name says.")
    sample_definition_file_name: str = option("", "A JSON list of samples, read when samples is null; empty: none.")
    sample_after: float = option(10.0, "Samples are drawn this often; 0: never.", minimum=0, maximum=1e9)
    sample_after_unit: TimeUnit = option("MINUTE", "The unit of sample_after and sample_skip_first.")
    sample_skip_first: float = option(0.0, "No samples before this time.", minimum=0, maximum=1e9)
    sample_image_format: Literal["PNG", "JPG"] = option("PNG", "The format of sample files.")
    samples_to_tensorboard: bool = option(True, "Whether samples are written to TensorBoard's files, too.")
    non_ema_sampling: bool = option(True, "With EMA: whether each sample is drawn a second time with the weights as they are.")
    backup_after: float = option(30.0, "Backups, to continue from, are made this often; 0: never.", minimum=0, maximum=1e9)
    backup_after_unit: TimeUnit = option("MINUTE", "The unit of backup_after.")
    backup_before_save: bool = option(True, "Whether a backup is made at the end.")
    rolling_backup: bool = option(False, "Whether old backups are deleted.")
    rolling_backup_count: int = option(3, "How many backups rolling_backup keeps.", minimum=1, maximum=1_000_000)
    save_every: float = option(0.0, "Models are saved this often; 0: never.", minimum=0, maximum=1e9)
    save_every_unit: TimeUnit = option("NEVER", "The unit of save_every and save_skip_first.")
    save_skip_first: float = option(0.0, "No saves before this time.", minimum=0, maximum=1e9)
    save_filename_prefix: str = option("", "What the names of samples, saves and configs begin with.", pattern=_PREFIX)
    workspace_dir: str = option("workspace/run", "Where samples, backups, saves and logs go.", pattern=_PATH)
    output_model_destination: str = option(
        "models/model.safetensors", "The final model's file; for a folder, a file inside it.", pattern=_PATH
    )
    output_model_format: Literal["SAFETENSORS"] = option("SAFETENSORS", "The format of models.")
    continue_last_backup: bool = option(False, "Go on from the newest whole backup in the workspace.")
    tensorboard: bool = option(True, "Whether TensorBoard's event files are written. No server is started.")

    def to_json(self) -> "dict[str, Any]":
        """The config as JSON, with all defaults."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


class Loaded(NamedTuple):
    """*ignored*: OneTrainer's keys that have no effect here; *unknown*: (key, nearest known key or an empty string)."""

    config: TrainConfig
    ignored: "list[str]"
    unknown: "list[tuple[str, str]]"


def load(values: Mapping[str, Any]) -> Loaded:
    """Read a config, with the concept and sample files it names. Relative paths mean the working directory.

    Raises:
        ConfigError: one or more values are wrong; the message has a line for each.
    """
    problems: list[str] = []
    values = {**values}
    _inline(values, "concepts", values.get("concept_file_name", TrainConfig.concept_file_name), problems)
    if values.get("sample_definition_file_name"):
        _inline(values, "samples", values["sample_definition_file_name"], problems)
    config = read(TrainConfig, values, problems)
    for index, concept in enumerate(config.concepts or ()):
        if concept.enabled and not concept.path.strip() and not any(problem.startswith("concepts[") for problem in problems):
            problems.append(f"concepts[{index}].path is {concept.path!r}: a folder was expected")
    if problems:
        raise ConfigError("\n".join(problems))
    ignored, unknown = _other_keys(values)
    return Loaded(config, ignored, unknown)


def read_sample(values: Mapping[str, Any]) -> SampleConfig:
    """The parameters of a custom sample. Raises ConfigError with a line for each wrong value."""
    problems: list[str] = []
    sample = read(SampleConfig, values, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return sample


def describe() -> "dict[str, Any]":
    """The JSON Schema (2020-12) of the config, concepts and samples included; `x-ignored` names OneTrainer's keys without effect here."""
    described = schema(TrainConfig)
    described["properties"]["__version"] = {"type": "integer", "description": "OneTrainer's config version; not looked at."}
    described["properties"]["concepts"]["items"]["required"] = ["path"]
    described["x-ignored"] = sorted(onetrainer_keys.TRAINING)
    for key, ignored in (("concepts", onetrainer_keys.CONCEPT), ("samples", onetrainer_keys.SAMPLE)):
        described["properties"][key]["items"]["x-ignored"] = sorted(ignored)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Config of the built-in trainer", **described}


def _inline(values: "dict[str, Any]", key: str, path: Any, problems: "list[str]") -> None:
    """Put the list in the file at *path* into *values*, unless there is one."""
    if values.get(key) is not None or not isinstance(path, str):
        return
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        problems.append(f"{key} is missing, and the file to read it from, {path!r}, cannot be used: {error}")
        return
    values[key] = found if found is not None else []


def _other_keys(values: Mapping[str, Any]) -> "tuple[list[str], list[tuple[str, str]]]":
    ignored: list[str] = []
    unknown: list[tuple[str, str]] = []
    groups: list[tuple[str, set[str], type, frozenset[str]]] = [
        ("", set(values), TrainConfig, onetrainer_keys.TRAINING | _ANNOTATIONS),
        ("concepts[].", _keys_in(values.get("concepts")), ConceptConfig, onetrainer_keys.CONCEPT | _ANNOTATIONS),
        ("samples[].", _keys_in(values.get("samples")), SampleConfig, onetrainer_keys.SAMPLE | _ANNOTATIONS),
    ]
    for where, given, cls, others in groups:
        for key in sorted(given - keys(cls)):
            if key not in others:
                nearest = difflib.get_close_matches(key, keys(cls) | others, 1)
                unknown.append((where + key, nearest[0] if nearest else ""))
            elif key not in _ANNOTATIONS:
                ignored.append(where + key)
    return ignored, unknown


def _keys_in(items: "list[dict[str, Any]] | None") -> "set[str]":
    return {key for item in items or () for key in item}
