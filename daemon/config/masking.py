"""Keep secrets out of what is stored and shown of a config. Pure."""

from collections.abc import Mapping
from typing import Any

from daemon.errors import InvalidError

_KEY = "secrets"
"""OneTrainer's TrainConfig has its SecretsConfig under this key."""

_NAMES = frozenset({"huggingface_token", "hf_token", "api_key", "api_token", "access_token", "auth_token", "password", "secret"})
_MASK = "***"


def split(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """*config* without its secrets, and these; None when there are none, or only empty ones.

    Raises:
        InvalidError: `secrets` is no object.
    """
    rest = {key: value for key, value in config.items() if key != _KEY}
    secrets = config.get(_KEY)
    if secrets is not None and not isinstance(secrets, Mapping):
        raise InvalidError("/secrets: it must be an object, as OneTrainer's secrets.json holds one", code="invalid_config")
    return rest, dict(secrets) if secrets and _says_something(secrets) else None


def masked(config: Mapping[str, Any]) -> dict[str, Any]:
    """*config* without its secrets, and with `***` for whatever else is named like one, at any depth."""
    rest, _ = split({**config, _KEY: None})
    return {key: _masked(key, value) for key, value in rest.items()}


def _masked(key: str, value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _masked(name, inner) for name, inner in value.items()}
        case list():
            return [_masked(key, inner) for inner in value]
        case str() if value and key.lower().rpartition(".")[2] in _NAMES:  # `cloud.api_key` among single values
            return _MASK
        case _:
            return value


def _says_something(value: object) -> bool:
    """OneTrainer writes empty secrets with a version and a port; they say nothing, and must not stand for the real ones."""
    return any(map(_says_something, value.values())) if isinstance(value, Mapping) else isinstance(value, str) and bool(value)
