"""Configs with OneTrainer's manners: what cannot be set is printed, and the default stays."""

from enum import Enum
from typing import Any, get_args, get_origin


class BaseConfig:
    def __init__(self, data: list[tuple[str, Any, Any, bool]], config_version: int = 0, config_migrations: Any = None) -> None:
        self.config_version = config_version
        self.config_migrations = config_migrations or {}
        self.types = {name: kind for name, _, kind, _ in data}
        self.nullables = {name: nullable for name, _, _, nullable in data}
        self.default_values = {name: value for name, value, _, _ in data}
        for name, value, _, _ in data:
            setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        def plain(value: Any) -> Any:
            match value:
                case BaseConfig():
                    return value.to_dict()
                case Enum():
                    return value.name
                case list():
                    return [plain(item) for item in value]
                case _:
                    return value

        return {"__version": self.config_version, **{name: plain(getattr(self, name)) for name in self.types}}

    def from_dict(self, data: dict[str, Any], migrate: bool = True) -> "BaseConfig":
        version = data.get("__version", 0)
        while migrate and version in self.config_migrations:
            data = self.config_migrations[version](data)
            version += 1
        for name in self.types:
            if name in data:
                try:
                    setattr(self, name, self._converted(name, data[name], migrate))
                except Exception:
                    print(f"Could not set {name} as {data[name]}")
        return self

    def _converted(self, name: str, value: Any, migrate: bool) -> Any:
        kind = self.types[name]
        if value is None and self.nullables[name]:
            return None
        if get_origin(kind) is list:
            return [get_args(kind)[0].default_values().from_dict(item, migrate=migrate) for item in value]
        if issubclass(kind, BaseConfig):
            return getattr(self, name).from_dict(value, migrate=migrate)
        if issubclass(kind, Enum):
            return kind[value] if isinstance(value, str) else value
        return value if kind is bool else kind(value)
