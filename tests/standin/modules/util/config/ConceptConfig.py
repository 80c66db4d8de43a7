from modules.util.config.BaseConfig import BaseConfig
from modules.util.enum.ConceptType import ConceptType


class ConceptConfig(BaseConfig):
    @staticmethod
    def default_values() -> "ConceptConfig":
        return ConceptConfig([
            ("name", "", str, False), ("path", "", str, False), ("seed", 0, int, False), ("enabled", True, bool, False),
            ("type", ConceptType.STANDARD, ConceptType, False), ("balancing", 1.0, float, False),
            ("balancing_strategy", "REPEATS", str, False),
        ], config_version=2)  # fmt: skip
