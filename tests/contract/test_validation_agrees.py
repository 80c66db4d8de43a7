"""Fast validation says what OneTrainer's own code says: on its presets, on whole configs of every older version, and on mutated ones.

They may differ where a reason is written here, and nowhere else. The table is printed (pytest -s), and written to VALIDATION_TABLE.
"""

import copy
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from daemon.config.described import Described
from daemon.config.merge import deep_merge
from daemon.config.validation import Reading, Validation, Validator
from daemon.paths import Roots
from tests.contract.driver import ROOT

MUTATED = 500
SEED = 6
FIXTURE = ROOT / "tests" / "fixtures" / "onetrainer-configs.jsonl"

RETIRED = ("DEFAULT", "XFORMERS")
"""Values of attention_mechanism, a default until 2025, that OneTrainer dropped without a migration: it keeps its own default for them."""

LATER = "of an older version: a migration changes that key, and fast validation says that it does not judge it"
CRASHES = "of an older version: the value crashes OneTrainer's migration, which then tells of nothing else"
REASONS = (LATER, CRASHES)


class Case(NamedTuple):
    kind: str
    name: str
    config: dict[str, Any]


class Trainer:
    """The real OneTrainer: its catalog, and a worker that reads configs."""

    def __init__(self, home: Path, python: str, archive: Path) -> None:
        catalog = subprocess.run(
            [python, archive, "catalog", "onetrainer", "describe"],
            stdout=subprocess.PIPE,
            check=True,
            timeout=120,
            cwd=home,
            stderr=subprocess.DEVNULL,
        )
        self.described = Described.from_json(json.loads(catalog.stdout))
        command = [python, str(archive), "catalog", "onetrainer", "worker"]
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=home)
        assert self._ask(None) == {"ready": True}
        self._validator = Validator(lambda: self.described, Roots([home], home))

    def close(self) -> None:
        self._worker.kill()
        self._worker.communicate()

    def fast(self, config: Mapping[str, Any]) -> Validation:
        return self._validator.validate(config)

    def deep(self, config: Mapping[str, Any]) -> Validation:
        answer = self._ask(config)
        refused = [(tuple(item["path"]), item["message"]) for item in answer["refused"]]
        return self._validator.validate_reading(config, Reading(refused, [tuple(path) for path in answer["unknown"]], answer["config"]))

    def _ask(self, config: Mapping[str, Any] | None) -> dict[str, Any]:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        if config is not None:
            self._worker.stdin.write(json.dumps(config).encode() + b"\n")
            self._worker.stdin.flush()
        answer: dict[str, Any] = json.loads(self._worker.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def trainer(real_home: tuple[Path, str], pyz: Path) -> Iterator[Trainer]:
    trainer = Trainer(real_home[0], real_home[1], pyz)
    yield trainer
    trainer.close()


@pytest.mark.timeout(600)  # seven hundred configs, twice, on a machine that may be busy
def test_fast_and_deep_validation_agree_on_the_real_onetrainer(trainer: Trainer, real_home: tuple[Path, str]) -> None:
    presets = list(shipped(real_home[0]))
    olds = list(older(trainer.described))
    whole = [Case("whole config of the present version", case.name, present(case, trainer.described)) for case in presets]
    bases = [case for case in [*presets, *whole, *olds] if trainer.deep(case.config).valid]
    rng = random.Random(SEED)
    mutated = [mutate(rng, bases, MUTATIONS[number % len(MUTATIONS)]) for number in range(MUTATED)]
    rows: dict[str, Counter[str]] = {}
    unexplained = []
    for case in [*presets, *whole, *olds, *mutated]:
        fast, deep = trainer.fast(case.config), trainer.deep(case.config)
        outcome = compare(case.config, fast, deep, trainer.described)
        rows.setdefault(case.kind, Counter())[outcome] += 1
        if outcome not in (VALID, INVALID, *REASONS):
            unexplained.append(f"{case.kind}, {case.name}: {outcome}\n  fast: {fast.errors}\n  deep: {deep.errors}")
    table = shown(rows)
    sys.stdout.write(f"\n{table}\n")
    if "VALIDATION_TABLE" in os.environ:
        Path(os.environ["VALIDATION_TABLE"]).write_text(table + "\n")
    assert not unexplained, "\n".join(unexplained)
    assert rows["shipped preset"] == {VALID: len(presets)}
    assert {case.config.get("__version", 0) for case in olds} == set(range(trainer.described.config_version))
    wrong = {case.kind: case.name for case in olds if not case.kind.endswith("as written") and not trainer.deep(case.config).valid}
    assert not wrong


VALID, INVALID = "both: valid", "both: the same errors"


def compare(config: Mapping[str, Any], fast: Validation, deep: Validation, described: Described) -> str:
    """One of VALID, INVALID, REASONS, or what is different."""
    told = [{finding.pointer for finding in found.findings if finding.level == "error"} for found in (fast, deep)]
    if told[0] == told[1]:
        return VALID if fast.valid else INVALID
    version = config.get("__version", 0 if isinstance(config.get("optimizer"), str) else described.config_version)
    if is_refused_as_a_whole(deep) and not fast.valid and told[0] == {"/__version"}:
        return INVALID  # of a version, both say one thing: the one names the key, the other the config
    if isinstance(version, int) and version < described.config_version:
        if is_refused_as_a_whole(deep):
            return CRASHES
        between = described.root["x-migrations"][str(version)]
        touched = {f"/{key}" for key in between["touched"]} | set(between["loose"])
        if all(any(pointer == one or pointer.startswith(f"{one}/") for one in touched) for pointer in told[0] ^ told[1]):
            return LATER
    return f"only fast: {sorted(told[0] - told[1])}, only deep: {sorted(told[1] - told[0])}"


def is_refused_as_a_whole(deep: Validation) -> bool:
    return any(finding.level == "error" and not finding.pointer for finding in deep.findings)


def shipped(home: Path) -> Iterator[Case]:
    for path in sorted((home / "training_presets").rglob("*.json")):
        yield Case("shipped preset", path.stem, json.loads(path.read_bytes()))


def older(described: Described) -> Iterator[Case]:
    """What OneTrainer itself wrote at each version: its defaults, and what it made of presets of that time."""
    for line in FIXTURE.read_text().splitlines():
        kept = json.loads(line)
        if kept["version"] < described.config_version:
            kind = f"whole config of version {kept['version']} ({kept['date']})"
            for name, changes in {"defaults": {}, **kept["presets"]}.items():
                config = {**kept["config"], **changes, **data()}
                if config.get("attention_mechanism") in RETIRED:
                    yield Case(f"{kind}, as written", name, config)
                    config = {**config, "attention_mechanism": "SDP"}
                yield Case(kind, name, config)


def present(preset: Case, described: Described) -> dict[str, Any]:
    """As OneTrainer would write it today."""
    defaults = {key: value for key, value in described.defaults.items() if key != "secrets"}
    return {**deep_merge({"__version": described.config_version, **defaults}, preset.config), **data()}


def data() -> dict[str, Any]:
    """Something to learn from: a folder that every checkout has, with a picture or more in it."""
    return {"concepts": [{"path": "resources", "include_subdirectories": True}], "samples": []}


# Mutations: each takes one thing of a config, and makes it wrong.

Place = tuple[str, ...]
OTHERS: tuple[Any, ...] = ("x", "", "5", "1e-3", "true", "None", 3, -1, 2.5, 4.0, True, False, [], [1], {}, {"a": 1}, [[]], [{}])


def places(config: Mapping[str, Any], below: Place = ()) -> Iterator[Place]:
    for key, value in config.items():
        if not key.startswith("__"):
            yield (*below, key)
            if isinstance(value, dict):
                yield from places(value, (*below, key))


def at(config: Any, place: Place) -> Any:
    for key in place:
        config = config[key]
    return config


def mutate(rng: random.Random, bases: Sequence[Case], mutation: tuple[str, Callable[[random.Random, dict[str, Any]], None]]) -> Case:
    kind, change = mutation
    while True:
        base = rng.choice(bases)
        config = copy.deepcopy(base.config)
        try:
            change(rng, config)
        except IndexError:  # it has nothing of that kind
            continue
        return Case(f"mutated: {kind}", f"{base.kind} {base.name}", config)


def wrong_type(rng: random.Random, config: dict[str, Any]) -> None:
    *parents, key = rng.choice(list(places(config)))
    at(config, tuple(parents))[key] = copy.deepcopy(rng.choice(OTHERS))


def null(rng: random.Random, config: dict[str, Any]) -> None:
    *parents, key = rng.choice(list(places(config)))
    at(config, tuple(parents))[key] = None


def unknown_key(rng: random.Random, config: dict[str, Any]) -> None:
    *parents, key = rng.choice(list(places(config)))
    cut = rng.randrange(len(key))
    at(config, tuple(parents))[rng.choice([key[:cut] + key[cut + 1 :], key[:cut] + "q" + key[cut:], f"{key}s"])] = rng.choice(OTHERS)


def bad_enum(rng: random.Random, config: dict[str, Any]) -> None:
    named = [place for place in places(config) if isinstance(value := at(config, place), str) and value.isupper()]
    *parents, key = rng.choice(named)
    value = at(config, (*parents, key))
    at(config, tuple(parents))[key] = rng.choice([value.lower(), value[:-1], f"{value}_", value.title()])


def out_of_range(rng: random.Random, config: dict[str, Any]) -> None:
    numbers = [place for place in places(config) if type(at(config, place)) in {int, float}]
    *parents, key = rng.choice(numbers)
    at(config, tuple(parents))[key] = rng.choice([-1, 0, -0.5, 1e12, 10**18, 1e-300, 2**63, "inf", "-inf", "nan"])


def left_out(rng: random.Random, config: dict[str, Any]) -> None:
    *parents, key = rng.choice(list(places(config)))
    del at(config, tuple(parents))[key]


def wrong_version(rng: random.Random, config: dict[str, Any]) -> None:
    config["__version"] = rng.choice([99, -1, "11", None, True, 2.0, [], 12])


def of_a_list(rng: random.Random, config: dict[str, Any]) -> None:
    """A concept or a sample with something wrong in it; the folder is one that any checkout has."""
    concept = {"path": "resources", "seed": 1, "enabled": True, "type": "STANDARD", "balancing": 1.0, "image": {}, "text": {}}
    config["concepts"] = [copy.deepcopy(concept), concept]
    config["samples"] = [{"prompt": "a", "width": 512, "noise_scheduler": "DDIM", "cfg_scale": 7.0}]
    target = rng.choice([concept, config["samples"][0]])
    target[rng.choice([*target, "imag", "cfg_scal"])] = copy.deepcopy(rng.choice([*OTHERS, None]))


MUTATIONS = (
    ("a wrong type", wrong_type), ("a null", null), ("an unknown key", unknown_key), ("a bad enum", bad_enum),
    ("out of range", out_of_range), ("a key left out", left_out), ("a wrong version", wrong_version),
    ("in a concept or sample", of_a_list),
)  # fmt: skip


def shown(rows: Mapping[str, Counter[str]]) -> str:
    heads = [VALID, INVALID, *REASONS, "unexplained"]
    lines = [
        "| configs | n | valid in both | same errors in both | judged later (1) | migration crashes (2) | unexplained |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for kind, counts in rows.items():
        known = {head: counts[head] for head in heads[:-1]}
        cells = [counts.total(), *known.values(), counts.total() - sum(known.values())]
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", f"(1) {LATER}", f"(2) {CRASHES}"])
