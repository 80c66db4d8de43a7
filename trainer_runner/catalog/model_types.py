"""What the model types of a checkout are, by its own methods; where an older one has none, by what its window offers."""

import ast
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TOP_BAR = Path("modules", "ui", "TopBar.py")
_OFFER = "__create_training_method"
_SOURCES = {"supported_training_methods": "training methods", "model_parts": "parts", "supported_output_formats": "output formats"}
_TRAITS = ("is_", "has_", "supports_")


def describe_model_types(model_types: Any, methods: Any, root: Path) -> "tuple[list[dict[str, Any]], list[str]]":
    """For each member of the enum *model_types*: its name, and as far as the checkout tells them *training_methods*, *parts* (fields of
    the config), *output_formats* by method, and *traits*, the names of its yes-or-no methods that say yes. Then what cannot be told.

    Sources: `ModelType.supported_training_methods`, `.model_parts`, `.supported_output_formats` (since July 2026); before that the training
    methods that `TopBar.py` offers, whose assignments to `values` are evaluated for each type. Parts and formats have no source there.
    """
    offered = None if hasattr(model_types, "supported_training_methods") else _offer(root)
    missing = [
        f"model types: this OneTrainer does not tell their {what}"
        for name, what in _SOURCES.items()
        if not hasattr(model_types, name) and not (offered and name == "supported_training_methods")
    ]
    return [_describe(member, methods, offered) for member in model_types], missing


def _describe(member: Any, methods: Any, offered: Any) -> "dict[str, Any]":
    described: dict[str, Any] = {"name": member.name, "traits": _traits(member)}
    supported = _names(_ask(member, "supported_training_methods"))
    if supported is None and offered is not None:
        supported = _evaluate(offered, member, methods)
    if supported is not None:
        described["training_methods"] = supported
    parts = _ask(member, "model_parts")
    if parts is not None:
        described["parts"] = [str(part) for part in parts]
    formats = {name: _names(_ask(member, "supported_output_formats", methods[name])) for name in supported or []}
    if formats and all(value is not None for value in formats.values()):
        described["output_formats"] = formats
    return described


def _ask(member: Any, name: str, *arguments: Any) -> Any:
    """What the method *name* says; None where there is none, or it knows nothing of this member."""
    method = getattr(member, name, None)
    if method is None:
        return None
    try:
        return method(*arguments)
    except Exception:  # noqa: BLE001 - foreign code: what it cannot say is left out
        return None


def _names(members: Any) -> "list[str] | None":
    return None if members is None else [member.name for member in members]


def _traits(member: Any) -> "list[str]":
    names = [
        name
        for name, function in vars(type(member)).items()
        if name.startswith(_TRAITS) and inspect.isfunction(function) and len(inspect.signature(function).parameters) == 1
    ]
    return sorted(name for name in names if _ask(member, name) is True)


def _offer(root: Path) -> Any:
    """The statements of the window's method that give `values` its value, compiled; None where it is not as we know it."""
    try:
        tree = ast.parse((root / TOP_BAR).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == _OFFER:
            chosen = [one for one in function.body if _sets_values(one)]
            if chosen:
                return compile(ast.Module(chosen, []), str(root / TOP_BAR), "exec")
    return None


def _sets_values(statement: ast.stmt) -> bool:
    body: list[ast.stmt] = [statement]
    while body and isinstance(body[0], ast.If):
        branches = body[0]
        if not all(_assigns(one) for one in branches.body):
            return False
        body = branches.orelse
    return all(_assigns(one) for one in body)


def _assigns(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) and target.id == "values" for target in statement.targets)


def _evaluate(offered: Any, member: Any, methods: Any) -> "list[str] | None":
    names: dict[str, Any] = {"self": SimpleNamespace(train_config=SimpleNamespace(model_type=member)), "TrainingMethod": methods}
    try:
        exec(offered, names)  # noqa: S102 - the checkout's own text, as importing it would be # nosec B102
        return [method.name for _, method in names["values"]] or None
    except Exception:  # noqa: BLE001 - what it cannot say is left out
        return None
