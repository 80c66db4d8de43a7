"""Model files: safetensors with the network's shape and vocabulary in their metadata, so that one file is all a reader needs."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ipc.atomic import replace_file
from trainer_runner.backends.builtin.model import FlowModel, Shape
from trainer_runner.backends.builtin.text import Vocabulary

FORMAT = "onetrainerd.builtin/1"


def as_plain(tensors: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """On the CPU and contiguous, as safetensors wants them; each with memory of its own."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def write_tensors(path: Path, tensors: "dict[str, Tensor]", metadata: "dict[str, str] | None" = None) -> None:
    """A safetensors file at *path*, whole or not at all. Raises OSError."""
    replace_file(path, save(as_plain(tensors), metadata=metadata))


def write_model(path: Path, model: FlowModel, global_step: int) -> None:
    """The model as it is now. Raises OSError; *path* is then as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"format": FORMAT, "shape": model.shape._asdict(), "vocabulary": model.vocabulary.words, "global_step": global_step}
    # One key: safetensors writes several in any order, and the same model should be the same bytes.
    write_tensors(path, model.state_dict(), {"onetrainerd": json.dumps(about, ensure_ascii=False)})


def read_model(path: Path) -> FlowModel:
    """The model in *path*, on the CPU.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no model of this trainer.
    """
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("onetrainerd", "{}"))
        if about.get("format") != FORMAT:
            raise ValueError(f"{path} is no model of the built-in trainer: format {about.get('format')!r}, not {FORMAT!r}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    shape, vocabulary = Shape.from_json(about["shape"]), Vocabulary(about["vocabulary"])
    model = prepared(FlowModel(shape, vocabulary), torch.device("cpu"))
    model.load_state_dict(tensors)
    return model.eval()


def prepared(model: FlowModel, device: torch.device) -> FlowModel:
    """In the memory layout in which convolutions on a CPU are a quarter faster."""
    nn.Module.to(model, device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this overload
    return model
