import json
import os
import subprocess
from pathlib import Path
from typing import Any


class ModelSaver:
    def save(self, model: Any, model_type: Any, output_model_format: Any, output_model_destination: str, dtype: Any) -> None:
        """meta.json comes last: a backup is whole if and only if it is there."""
        subprocess.run(["git", "--version"], check=True, capture_output=True)
        destination = Path(output_model_destination)
        weights = json.dumps({"weight": model.weight, "average": model.average})
        if str(output_model_format) != "INTERNAL":
            os.makedirs(destination.parent, exist_ok=True)
            destination.write_text(weights)
            return
        for part in ("lora", "optimizer"):
            os.makedirs(destination / part)
        (destination / "lora" / "lora.safetensors").write_text(weights)
        (destination / "optimizer" / "optimizer.pt").write_text("{}")
        progress = {name: getattr(model.train_progress, name) for name in ("epoch", "epoch_step", "epoch_sample", "global_step")}
        (destination / "meta.json").write_text(json.dumps({"train_progress": progress}))
