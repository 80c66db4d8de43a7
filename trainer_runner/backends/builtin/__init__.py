"""The embedded default trainer: small, real, and from outside like OneTrainer. Imports torch only when it runs."""

from typing import TYPE_CHECKING

from trainer_runner.trainer.backend import Outcome

if TYPE_CHECKING:
    from trainer_runner.trainer.session import Session


class BuiltinBackend:
    """Satisfies `trainer_runner.trainer.backend.Backend`."""

    def run(self, session: "Session") -> Outcome:
        session.phase("loading")
        from trainer_runner.backends.builtin.run import run  # noqa: PLC0415 - torch takes seconds; the config's schema must not

        return run(session)
