import os
from typing import Any

from modules.util.config.BaseConfig import BaseConfig
from modules.util.config.ConceptConfig import ConceptConfig
from modules.util.config.SampleConfig import SampleConfig
from modules.util.config.SecretsConfig import SecretsConfig
from modules.util.enum.ModelFormat import ModelFormat
from modules.util.enum.TimeUnit import TimeUnit
from modules.util.enum.TrainingMethod import TrainingMethod


class CloudConfig(BaseConfig):
    @staticmethod
    def default_values() -> "CloudConfig":
        return CloudConfig([("enabled", False, bool, False)])


class TrainModelPartConfig(BaseConfig):
    @staticmethod
    def default_values() -> "TrainModelPartConfig":
        return TrainModelPartConfig([("model_name", "", str, False), ("weight_dtype", "FLOAT_32", str, False)])


class TrainConfig(BaseConfig):
    workspace_dir: str

    def get_last_backup_path(self) -> Any:
        """The highest name, whole or not."""
        folder = os.path.join(self.workspace_dir, "backup")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        return os.path.join(folder, names[-1]) if names else None

    def to_pack_dict(self, secrets: bool) -> dict[str, Any]:
        values = self.to_dict()
        if not secrets:
            values.pop("secrets")
        return values

    def __migrate_0(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "weight_dtype": data["weight_dtype"]}

    @staticmethod
    def default_values() -> "TrainConfig":
        def part() -> tuple[Any, Any, bool]:
            return TrainModelPartConfig.default_values(), TrainModelPartConfig, False

        config = TrainConfig([
            ("training_method", TrainingMethod.FINE_TUNE, TrainingMethod, False), ("model_type", "STABLE_DIFFUSION_15", str, False),
            ("base_model_name", "org/model", str, False), ("lora_model_name", "", str, False),
            ("workspace_dir", "workspace/run", str, False), ("cache_dir", "workspace-cache/run", str, False),
            ("output_model_destination", "models/model.safetensors", str, False),
            ("output_model_format", ModelFormat.SAFETENSORS, ModelFormat, False),
            ("output_dtype", "FLOAT_32", str, False), ("train_device", "cpu", str, False), ("temp_device", "cpu", str, False),
            ("train_dtype", "FLOAT_32", str, False), ("fallback_train_dtype", "FLOAT_32", str, False), ("resolution", "512", str, False),
            ("unet", *part()), ("text_encoder", *part()), ("vae", *part()),
            ("cloud", CloudConfig.default_values(), CloudConfig, False), ("secrets", SecretsConfig.default_values(), SecretsConfig, False),
            ("tensorboard", True, bool, False), ("tensorboard_port", 6006, int, False), ("offline_mode", False, bool, False),
            ("validation", False, bool, False), ("validate_after", 1, int, False), ("validate_after_unit", TimeUnit.EPOCH, TimeUnit, False),
            ("multi_gpu", False, bool, False), ("device_indexes", "", str, False), ("dataloader_threads", 1, int, False),
            ("concept_file_name", "training_concepts/concepts.json", str, False), ("concepts", None, list[ConceptConfig], True),
            ("sample_definition_file_name", "training_samples/samples.json", str, False), ("samples", None, list[SampleConfig], True),
            ("latent_caching", True, bool, False), ("clear_cache_before_training", True, bool, False), ("only_cache", False, bool, False),
            ("epochs", 100, int, False), ("batch_size", 1, int, False), ("gradient_accumulation_steps", 1, int, False),
            ("learning_rate", 3e-6, float, False), ("learning_rate_warmup_steps", 200.0, float, False), ("lora_rank", 16, int, False),
            ("ema", "OFF", str, False),
            ("ema_decay", 0.999, float, False), ("non_ema_sampling", True, bool, False), ("clip_grad_norm", 1.0, float, True),
            ("continue_last_backup", False, bool, False), ("backup_before_save", True, bool, False), ("rolling_backup", False, bool, False),
            ("sample_after", 10, int, False), ("sample_after_unit", TimeUnit.MINUTE, TimeUnit, False),
            ("backup_after", 30, int, False), ("backup_after_unit", TimeUnit.MINUTE, TimeUnit, False),
            ("save_every", 0, int, False), ("save_every_unit", TimeUnit.NEVER, TimeUnit, False), ("save_filename_prefix", "", str, False),
        ], config_version=11)  # fmt: skip
        config.config_migrations = {0: config.__migrate_0}
        return config
