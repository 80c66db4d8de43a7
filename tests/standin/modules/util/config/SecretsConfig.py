from modules.util.config.BaseConfig import BaseConfig


class SecretsConfig(BaseConfig):
    @staticmethod
    def default_values() -> "SecretsConfig":
        return SecretsConfig([("huggingface_token", "", str, False)])
