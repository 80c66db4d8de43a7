"""Whether a config could start: its values by the trainer's own description, its keys by spelling, its paths and data by what lies on disk.

In depth, the trainer's own code has read the config, and what it made of each value stands for the schema; all else is the same.
An unknown key only warns, in both depths: OneTrainer drops it, its presets and configs of other versions are full of them, and refusing
those would make them unusable. The warning names the nearest key, is in the answer of a start, and in the log of the run.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from jsonschema import ValidationError
from jsonschema.protocols import Validator as SchemaValidator

from daemon.config import config_paths, rules, schema_words
from daemon.config.described import Described, Source
from daemon.config.findings import Finding, Level, of_line
from daemon.config.quick_check import Check, compile_check
from daemon.config.rules.view import View
from daemon.config.schema_types import has_text_numbers, validator_of
from daemon.config.versions import Judgeable, judgeable
from daemon.paths import Roots

MAX_FINDINGS = 100
_SAMPLES = "/sample_definition_file_name"


@dataclass(frozen=True, slots=True)
class Validation:
    """*errors* keep the config from starting, *warnings* don't. Each line begins with the key as a JSON pointer; *findings* are the same
    for programs. *config*: in depth, what the trainer would train with.
    """

    valid: bool
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    config: dict[str, Any] | None = None

    @property
    def refused(self) -> list[str]:
        """Of the errors those that nobody may pass over."""
        return [finding.line for finding in self.findings if finding.is_refused and finding.level == "error"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the trainer's own code made of a config: values it does not take, keys that it drops, and the config as it is then."""

    refused: list[tuple[tuple[str | int, ...], str]]
    unknown: list[tuple[str | int, ...]]
    config: dict[str, Any] | None


class Validator:
    """Checks configs against what one trainer tells of itself. Safe to use from several threads."""

    def __init__(self, source: Source, roots: Roots) -> None:
        self._source = source
        self._roots = roots
        self._compiled: _Compiled | None = None

    def validate(self, config: Mapping[str, Any], *, is_starting: bool = False) -> Validation:
        """What is wrong with *config*, at most MAX_FINDINGS of each kind. Looks at the disk; raises nothing about the config.

        *is_starting*: what a part of a config need not have is an error, too.
        """
        described = self._source()
        judged = judgeable(config, described.schema)
        found = [*_of_knowledge(described), *islice(judged.findings, MAX_FINDINGS)]
        if judged.is_unreadable:
            found += _refused_paths(config, described, self._roots)
            return _told(found, is_starting=is_starting)
        found += islice(self._of_values(config, described, judged), MAX_FINDINGS)
        found += islice(schema_words.of_other_keys(config, described.schema, judged.retired), MAX_FINDINGS)
        found += self._of_meaning(View(config, described, self._roots, judged.uncertain), found)
        return _told(found, is_starting=is_starting)

    def validate_reading(self, config: Mapping[str, Any], reading: Reading) -> Validation:
        """The same of *config*, as the trainer's own code has read it."""
        described = self._source()
        found = [Finding("error", schema_words.pointer_of(path), message) for path, message in islice(reading.refused, MAX_FINDINGS)]
        found += islice(schema_words.of_dropped_keys(reading.unknown, config, described.schema), MAX_FINDINGS)
        if reading.config is not None:
            wrong = {str(path[0]): False for path, _ in reading.refused if len(path) == 1}  # no default in place of what was refused
            view = View({**reading.config, **wrong}, described, self._roots, given=config.keys())
            found += self._of_meaning(view, found)
        return _told(found, is_starting=False, config=reading.config)

    def _of_values(self, config: Mapping[str, Any], described: Described, judged: Judgeable) -> Iterator[Finding]:
        compiled = self._compile(described)
        doubtful = {key: value for key, value in config.items() if key not in compiled.quick or not compiled.quick[key](value)}
        for error in compiled.validator.iter_errors(doubtful if compiled.quick else dict(config)):
            for finding in schema_words.of_error(error):
                if not judged.is_loose(tuple(error.absolute_path)) and not (judged.is_older and _is_old_null(error)):
                    yield finding

    def _of_meaning(self, view: View, found: list[Finding]) -> Iterator[Finding]:
        """Paths and rules; of a value that is an error already they say nothing more."""
        view.wrong |= {finding.pointer for finding in found if finding.level == "error"}
        given = _as_read({key: value for key, value in view.config.items() if view.is_given(key)}, view.described)
        for path_finding in config_paths.check(given, view.described.root, self._roots):
            finding = of_line(path_finding.line, "error" if path_finding.is_error else "incomplete", is_refused=path_finding.is_refused)
            if finding.level == "error":
                if finding.is_refused or finding.pointer not in view.wrong:
                    view.wrong.add(finding.pointer)
                    yield finding
            elif finding.pointer != _SAMPLES or view.described.backend != "onetrainer":  # a rule knows more of that one
                yield finding
        yield from rules.apply(view)

    def _compile(self, described: Described) -> "_Compiled":
        kept = self._compiled
        if kept is None or kept.described is not described:
            self._compiled = kept = _Compiled.of(described)
        return kept


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What is made of a description once: *quick* has a check for each key whose value is mostly right."""

    described: Described
    validator: SchemaValidator
    quick: Mapping[str, Check]

    @classmethod
    def of(cls, described: Described) -> "_Compiled":
        quick: dict[str, Check] = {}
        if has_text_numbers(described.schema):
            whole = described.schema
            quick = {key: compile_check({**one, "$defs": whole.get("$defs", {})}) for key, one in described.root["properties"].items()}
        return cls(described, validator_of(described.schema), quick)


def _is_old_null(error: ValidationError) -> bool:
    """OneTrainer itself wrote null for a switch that is off, until 2024, and reads it as off."""
    return error.instance is None and error.validator == "type" and error.validator_value == "boolean"


def _of_knowledge(described: Described) -> Iterator[Finding]:
    if not described.is_known:
        why = described.problem or "it has not described itself yet"
        yield Finding("warning", "", f"the values are not judged, since the trainer's own description of them is missing: {why}")


def _refused_paths(config: Mapping[str, Any], described: Described, roots: Roots) -> list[Finding]:
    """What the client may not name, whatever else is wrong with the config."""
    found = config_paths.check(_as_read(dict(config), described), described.root, roots)
    return [of_line(one.line, "error", is_refused=True) for one in found if one.is_refused]


def _as_read(config: dict[str, Any], described: Described) -> dict[str, Any]:
    """*config* with the numbers that stand for texts as these texts, where paths are looked for: `5` is a folder of that name. A concept
    without a path has an empty one."""
    if not has_text_numbers(described.schema):
        return config
    texts = {key for key, one in described.root["properties"].items() if one.get("type") == "string"}
    read = {key: str(value) if key in texts and _is_number(value) else value for key, value in config.items()}
    if isinstance(concepts := read.get("concepts"), list):
        read["concepts"] = [
            {**one, "path": str(one.get("path", ""))} if isinstance(one, dict) and _is_number(one.get("path", 0)) else one
            for one in concepts
        ]
    return read


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _told(found: Iterable[Finding], *, is_starting: bool, config: dict[str, Any] | None = None) -> Validation:
    """One finding for each place and level; of a place with an error its warnings are not told."""
    errors: dict[tuple[str, str], Finding] = {}
    others: dict[tuple[str, str], Finding] = {}
    for finding in found:
        is_error = finding.level == "error" or (is_starting and finding.level == "incomplete")
        (errors if is_error else others).setdefault((finding.pointer, finding.message), finding)
    wrong = {pointer for pointer, _ in errors if pointer}
    warnings = [finding for finding in others.values() if finding.pointer not in wrong]
    # What is refused comes first: a hundred other errors must not hide it from a start that is forced.
    kept_errors = _first(sorted(errors.values(), key=lambda finding: not finding.is_refused), "error")
    kept_warnings = _first(warnings, "warning")
    return Validation(
        not errors, [finding.line for finding in kept_errors], [finding.line for finding in kept_warnings],
        [*kept_errors, *kept_warnings], config,
    )  # fmt: skip


def _first(found: list[Finding], level: Level) -> list[Finding]:
    if len(found) <= MAX_FINDINGS:
        return found
    return [*found[: MAX_FINDINGS - 1], Finding(level, "", f"and {len(found) - MAX_FINDINGS + 1} more")]
