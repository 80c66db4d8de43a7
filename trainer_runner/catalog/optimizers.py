"""The parameters of each optimizer and their defaults, from the one table that OneTrainer has of them."""

import ast
from pathlib import Path
from typing import Any

from trainer_runner.catalog.values import plain

SOURCE = Path("modules", "util", "optimizer_util.py")
_TABLE = "OPTIMIZER_DEFAULT_PARAMETERS"


def describe_optimizers(optimizers: Any, root: Path) -> "dict[str, dict[str, Any]] | None":
    """Optimizer → parameter → default, in its order; None where there is no such table.

    The assignment alone is evaluated: importing its file would import all models, which takes five seconds more.
    """
    try:
        tree = ast.parse((root / SOURCE).read_bytes())
        [table] = [one for one in tree.body if isinstance(one, (ast.Assign, ast.AnnAssign)) and _is_table(one)]
        assert table.value is not None
        expression = compile(ast.Expression(table.value), str(root / SOURCE), "eval")
        found: Any = eval(expression, {"Optimizer": optimizers, "inf": float("inf")})  # noqa: S307 - the checkout's own text # nosec B307
        return {optimizer.name: {str(key): plain(value) for key, value in given.items()} for optimizer, given in found.items()}
    except Exception:  # noqa: BLE001 - foreign code: what it cannot say is left out
        return None


def _is_table(statement: "ast.Assign | ast.AnnAssign") -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(target, ast.Name) and target.id == _TABLE for target in targets)
