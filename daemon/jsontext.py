"""The one parser for JSON that comes from outside: request bodies, and the config files that clients name.

Stricter than `json`: what it lets through can be written back by any strict parser, and means one thing only.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import orjson

from daemon.errors import InvalidError

MAX_DEPTH = 64
MAX_CONTAINERS = 200_000
"""Arrays and objects in one text: 8 MB of `[],` would take 200 MB of memory."""
INTEGERS = range(-(2**63), 2**64)
"""What orjson can write back."""

_TOKEN = re.compile(
    r'(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+")(?P<colon>[ \t\r\n]*:)?|(?P<open>[{\[])|(?P<close>[}\]])|(?P<word>[-+.\w]+)', re.DOTALL
)
_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


class _RefusedError(Exception):
    """Something that `json` takes and we don't; *word* is its text."""

    def __init__(self, problem: str, word: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.word = word


def parse_object(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object in *data*; *source* names it in messages ("the body", a path). A byte order mark is passed over.

    Raises:
        InvalidError: with the line and column, on anything but UTF-8, JSON as in RFC 8259, an object at the top: also on a key
            that occurs twice, NaN and Infinity, numbers out of range, half a surrogate pair, more than 64 levels.
    """
    value = _parse(data, source)
    if not isinstance(value, dict):
        raise InvalidError(f"{source}: a JSON object {{…}} was expected, not {_kind(value)}", code="bad_json")
    return value


def parse_list(data: bytes, source: str) -> list[Any]:
    """The JSON list in *data*; otherwise as `parse_object`."""
    value = _parse(data, source)
    if not isinstance(value, list):
        raise InvalidError(f"{source}: a JSON list […] was expected, not {_kind(value)}", code="bad_json")
    return value


def _parse(data: bytes, source: str) -> Any:
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        raise InvalidError(f"{source}: more than {MAX_CONTAINERS} arrays and objects", code="bad_json")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{source}: not UTF-8: byte {error.start} is 0x{data[error.start]:02x}", code="bad_json") from error
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer)
    except json.JSONDecodeError as error:
        _refuse(source, error.msg[:1].lower() + error.msg[1:], text, error.pos, error)
    except _RefusedError as error:
        _refuse(source, error.problem, text, _place_of(error.word, text), error)
    except RecursionError as error:
        _refuse(source, f"more than {MAX_DEPTH} levels deep", text, _place_of_depth(text), error)
    if _SURROGATE.search(data):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            _refuse(source, "half a surrogate pair in a string", text, error.pos, error)
    if _is_deep(value):
        _refuse(source, f"more than {MAX_DEPTH} levels deep", text, _place_of_depth(text))
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"the key {key[:100]!r} occurs twice in one object", "")
            seen.add(key)
    return value


def _constant(word: str) -> NoReturn:
    raise _RefusedError(f"{word} is no JSON number", word)


def _float(word: str) -> float:
    value = float(word)
    if value in {float("inf"), float("-inf")}:
        raise _RefusedError(f"the number {word[:40]} is too large", word)
    return value


def _integer(word: str) -> int:
    if len(word) > 20 or (value := int(word)) not in INTEGERS:
        raise _RefusedError(f"the integer {word[:40]} does not fit into 64 bits", word)
    return value


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _refuse(source: str, problem: str, text: str, place: int, cause: Exception | None = None) -> NoReturn:
    line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    message = f"{source}: not valid JSON: {problem} (line {line}, column {column})"
    raise InvalidError(message, code="bad_json", line=line, column=column) from cause


def _tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    return ((match.lastgroup or "", match) for match in _TOKEN.finditer(text))


def _place_of(word: str, text: str) -> int:
    """Where *word* stands outside strings; with an empty one, where the first key stands that its object has already."""
    keys: list[set[str]] = []
    for kind, match in _tokens(text):
        if kind == "word" and match["word"] == word:
            return match.start()
        if kind == "open":
            keys.append(set())
        elif kind == "close" and keys:
            keys.pop()
        elif kind == "colon" and not word and keys:
            key = json.loads(match["string"])
            if key in keys[-1]:
                return match.start()
            keys[-1].add(key)
    return 0


def _place_of_depth(text: str) -> int:
    depth = 0
    for kind, match in _tokens(text):
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth > MAX_DEPTH:
            return match.start()
    return 0


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"
