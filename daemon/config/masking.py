"""Keep secrets out of what is stored and shown of a config. Pure."""

from collections.abc import Mapping
from typing import Any

from daemon.errors import InvalidError

_KEY = "secrets"
"""OneTrainer's TrainConfig has its SecretsConfig under this key."""

_NAMES = frozenset({
    "huggingface_token", "hf_token", "token", "api_key", "api_token", "access_token", "auth_token", "password", "passwd", "secret",
    "client_secret", "private_key",
})  # fmt: skip
_MASK = "***"


def split(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """*config* without its secrets, and these; None when there are none, or only empty ones.

    What is named like a secret elsewhere (`cloud.password`) is left out of both: no trainer reads it there, and it would lie about.

    Raises:
        InvalidError: `secrets` is no object.
    """
    rest = {key: _without_named(value) for key, value in config.items() if key != _KEY and not _is_named(key, value)}
    secrets = config.get(_KEY)
    if secrets is not None and not isinstance(secrets, Mapping):
        raise InvalidError("/secrets: it must be an object, as OneTrainer's secrets.json holds one", code="invalid_config")
    return rest, dict(secrets) if secrets and _says_something(secrets) else None


def visible(config: Mapping[str, Any]) -> dict[str, Any]:
    """*config* for what checks it and quotes from it: of the secrets there are the paths that they name (`cloud.key_file`), and no more.
    What is no object where they belong stays wrong."""
    shown = masked(config)
    if _KEY in config:
        secrets = config[_KEY]
        shown[_KEY] = _files_in(secrets or {}) if isinstance(secrets, Mapping | None) else _MASK
    return shown


def _files_in(secrets: Mapping[str, Any]) -> dict[str, Any]:
    below = {key: _files_in(value) for key, value in secrets.items() if isinstance(value, Mapping)}
    files = {key: value for key, value in secrets.items() if isinstance(value, str) and key.endswith("_file")}
    return {**{key: value for key, value in below.items() if value}, **files}


def masked(config: Mapping[str, Any]) -> dict[str, Any]:
    """*config* without its secrets, and with `***` for whatever else is named like one, at any depth."""
    return {key: _masked(key, value) for key, value in config.items() if key != _KEY}


def is_secret_name(key: str) -> bool:
    """Whether a text under *key* is a secret. It may be several names with dots, as among single values: `cloud.api_key`."""
    return key.lower().rpartition(".")[2] in _NAMES


def _masked(key: str, value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _masked(name, inner) for name, inner in value.items()}
        case list():
            return [_masked(key, inner) for inner in value]
        case str() if _is_named(key, value):
            return _MASK
        case _:
            return value


def _without_named(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _without_named(inner) for name, inner in value.items() if not _is_named(name, inner)}
        case list():
            return [_without_named(inner) for inner in value]
        case _:
            return value


def _is_named(key: str, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and is_secret_name(key)


def _says_something(value: object) -> bool:
    """OneTrainer writes empty secrets with a version and a port; they say nothing, and must not stand for the real ones."""
    return any(map(_says_something, value.values())) if isinstance(value, Mapping) else isinstance(value, str) and bool(value)
