"""OneTrainer as a backend: an unmodified checkout, in its own Python, steered through its callbacks, commands and public objects.

The sole importer of OneTrainer's `modules.*`. Which OneTrainer it is does not matter: what is used is probed by attribute.
"""

from pathlib import Path

from trainer_runner.backends.onetrainer.checkout import open_checkout
from trainer_runner.backends.onetrainer.config import load_config
from trainer_runner.backends.onetrainer.training import Training
from trainer_runner.trainer.backend import ConfigError, Outcome
from trainer_runner.trainer.session import Session

__all__ = ["OneTrainerBackend"]


class OneTrainerBackend:
    """Trains with the OneTrainer checkout that is the working directory."""

    def run(self, session: Session) -> Outcome:
        """Train as `session.config` says.

        Raises:
            ConfigError: no usable checkout, or a config that it cannot be trained with.
            FileNotFoundError: the model, a concept's folder or a file that the config names is missing.
            NotFiniteLossError: the loss became NaN; no model was written.
            TrainedButNotSavedError: all steps are done, and the final model could not be written.
        """
        try:
            checkout = open_checkout(Path.cwd())
            config = load_config(checkout, session)
        except (ConfigError, OSError) as error:
            error.where = "config"  # type: ignore[union-attr]  # read by trainer.main for the error event
            raise
        return Training(session, checkout, config).run()
