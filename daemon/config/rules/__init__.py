"""Rules that no schema can say: what OneTrainer would tell only at run time, or at the end of the night. Each is pure but for a look at
the disk, and passes over values that are of the wrong kind, or that cannot be known: others speak of those.
"""

from collections.abc import Callable, Iterator

from daemon.config.findings import Finding
from daemon.config.rules import amounts, data, kinds, models, outputs, resolutions
from daemon.config.rules.view import View

Rule = Callable[[View], Iterator[Finding]]

OF_EVERY_TRAINER: tuple[Rule, ...] = (data.nothing_to_learn, data.batch_without_data, outputs.not_writable)
OF_ONETRAINER: tuple[Rule, ...] = (
    kinds.method_of_model, kinds.format_of_method, models.base_model, models.other_models, data.missing_samples, data.no_validation_data,
    amounts.at_least_one, amounts.only_cache, amounts.cloud, resolutions.not_a_resolution,
)  # fmt: skip
OF_THE_BUILTIN: tuple[Rule, ...] = (resolutions.not_the_builtins,)


def apply(view: View) -> Iterator[Finding]:
    """Everything that the rules of the view's trainer find."""
    own = OF_ONETRAINER if view.described.backend == "onetrainer" else OF_THE_BUILTIN
    for rule in (*OF_EVERY_TRAINER, *own):
        yield from rule(view)
