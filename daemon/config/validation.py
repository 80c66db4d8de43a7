"""Whether a config could start: its values by the trainer's JSON Schema, its keys by spelling, its paths by what lies on the disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator

from daemon.config import config_paths, schema_words
from daemon.paths import Roots

MAX_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Validation:
    """*errors* keep the config from starting, *warnings* don't. Each line begins with the key as a JSON pointer."""

    valid: bool
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Validator:
    """Checks configs against one trainer's schema. Safe to use from several threads."""

    def __init__(self, schema: Mapping[str, Any], roots: Roots) -> None:
        """*schema*: JSON Schema 2020-12; `x-ignored` beside `properties` lists keys that are known and have no effect.

        Raises:
            jsonschema.SchemaError: it is none.
        """
        Draft202012Validator.check_schema(schema)
        self._schema = schema
        self._validator = Draft202012Validator(schema)
        self._roots = roots

    def validate(self, config: Mapping[str, Any]) -> Validation:
        """What is wrong with *config*, at most MAX_FINDINGS lines of each kind. Looks at the disk; raises nothing about the config."""
        found = self._validator.iter_errors(dict(config))
        errors = list(islice((line for error in found for line in schema_words.of_error(error)), MAX_FINDINGS))
        warnings = list(islice(schema_words.of_other_keys(config, self._schema), MAX_FINDINGS))
        for finding in config_paths.check(config, self._schema, self._roots):
            (errors if finding.is_error else warnings).append(finding.line)
        return Validation(not errors, _first(errors), _first(warnings))


def _first(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MAX_FINDINGS else [*lines[: MAX_FINDINGS - 1], f"and {len(lines) - MAX_FINDINGS + 1} more"]
