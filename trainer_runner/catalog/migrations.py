"""What OneTrainer's migrations do to the keys of an older config, found by running them on made-up ones.

The daemon cannot migrate: it judges of an older config what no migration touches, and says so. For that it must know what they touch.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

Migration = Callable[["dict[str, Any]"], "dict[str, Any]"]
_MAX_NEEDS = 32


def describe_migrations(config: Any, defaults: "Mapping[str, Any]", enums: "Mapping[str, list[str]]") -> "dict[str, Any]":
    """Version → what is between it and the present one, for each version with migrations before it.

    *enums* says which keys have which names as values. *needs*: keys without which they crash, whatever those say;
    *touched*: present keys whose value they may change, or that they make;
    *loose*: paths `/key` or `/key/inner` at which a wrong value may vanish on the way; *retired*: names they know that are no keys now.
    """
    described = {}
    for version in range(int(config.config_version)):
        chain = [config.config_migrations[step] for step in range(version, config.config_version) if step in config.config_migrations]
        if chain:
            described[str(version)] = _describe(chain, defaults, enums)
    return described


def _describe(chain: "list[Migration]", defaults: "Mapping[str, Any]", enums: "Mapping[str, list[str]]") -> "dict[str, Any]":
    names = {text for migration in chain for text in _texts(getattr(migration, "__code__", None))}
    needs = _needs(chain, defaults)
    always = set(needs)
    for key in enums.keys() & needs.keys():
        for name in enums[key]:
            always &= _needs(chain, {**defaults, key: name}).keys()
    base, odd = _passing(chain, {**defaults, **needs})
    loose = {f"/{key}" for key in odd} | _loose(chain, base, names)
    touched = {key for key in names if key in defaults} | {path.split("/")[1] for path in loose}
    return {
        "needs": sorted(always),
        "touched": sorted(touched & defaults.keys()),
        "loose": sorted(loose),
        "retired": sorted(name for name in names if name.isidentifier() and name.islower() and name not in defaults),
    }


def _texts(code: Any) -> "Iterator[str]":
    for constant in code.co_consts if isinstance(code, CodeType) else ():
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from (item for item in constant if isinstance(item, str))
        else:
            yield from _texts(constant)


def _run(chain: "list[Migration]", data: "Mapping[str, Any]") -> "dict[str, Any]":
    current = copy.deepcopy(dict(data))
    for migration in chain:
        current = migration(current)
    return current


def _needs(chain: "list[Migration]", defaults: "Mapping[str, Any]") -> "dict[str, Any]":
    """What must be there even in an otherwise empty config, with a value that goes through."""
    given: dict[str, Any] = {}
    for _ in range(_MAX_NEEDS):
        try:
            _run(chain, given)
        except KeyError as error:
            key = error.args[0] if error.args else None
            if not isinstance(key, str) or key in given:
                break
            given[key] = copy.deepcopy(defaults.get(key, "FLOAT_32"))
        except Exception:  # noqa: BLE001 - a foreign function on made-up data: what is known so far is what can be said
            break
        else:
            break
    return given


def _passing(chain: "list[Migration]", base: "dict[str, Any]") -> "tuple[dict[str, Any], list[str]]":
    """*base* without the keys that had another form in that version, and crash the migrations in the present one; and these."""
    if _goes(chain, base):
        return base, []
    odd = [key for key in base if _goes(chain, {other: value for other, value in base.items() if other != key})]
    return {key: value for key, value in base.items() if key not in odd}, odd


def _goes(chain: "list[Migration]", data: "Mapping[str, Any]") -> bool:
    try:
        _run(chain, data)
    except Exception:  # noqa: BLE001 - a foreign function on made-up data
        return False
    return True


def _loose(chain: "list[Migration]", base: "dict[str, Any]", named: "set[str]") -> "set[str]":
    """A mark is put where a value is; it comes out there, or not. In all keys at once, but one by one in those that migrations name."""
    loose = _lost(chain, base, [key for key in base if key not in named])
    for key in named & base.keys():
        loose |= _lost(chain, base, [key])
    return loose


def _lost(chain: "list[Migration]", base: "dict[str, Any]", keys: "list[str]") -> "set[str]":
    paths = [path for key in keys for path in ([(key, inner) for inner in base[key]] if _is_filled(base[key]) else [(key,)])]
    data = copy.deepcopy(base)
    for path in paths:
        _put(data, path, _mark(path))
    try:
        done = _run(chain, data)
    except Exception:  # noqa: BLE001 - a wrong value crashes the migration: it does not vanish
        return set()
    return {"/" + "/".join(path) for path in paths if _get(done, path) != _mark(path)}


def _is_filled(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _mark(path: "tuple[str, ...]") -> str:
    return "\0" + "\0".join(path)


def _put(data: "dict[str, Any]", path: "tuple[str, ...]", value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def _get(data: Any, path: "tuple[str, ...]") -> Any:
    for key in path:
        if not isinstance(data, dict) or key not in data:
            return None
        data = data[key]
    return data
