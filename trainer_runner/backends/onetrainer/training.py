"""One training from the trainer's construction to its outcome: start, train, end, each told truthfully.

All that is wrapped is wrapped on objects. Under MultiTrainer the trainer that trains is made inside it; `multi` brings it here.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

from trainer_runner.backends.onetrainer import backups, finish, missing, multi
from trainer_runner.backends.onetrainer.callbacks import Callbacks
from trainer_runner.backends.onetrainer.checkout import Checkout, lack
from trainer_runner.backends.onetrainer.commands import Orders, Sink, new_commands
from trainer_runner.backends.onetrainer.files import Files
from trainer_runner.backends.onetrainer.printed import Printed
from trainer_runner.backends.onetrainer.samples import Samples
from trainer_runner.backends.onetrainer.scalars import Scalars
from trainer_runner.trainer.backend import NotFiniteLossError, Outcome
from trainer_runner.trainer.session import Session

_CAPABILITIES = frozenset({"pause_hold", "pause_release", "sample_default", "sample_custom", "backup", "save"})
_AFTER_STOP = "the training was told to stop before it was carried out"
_LAST_STEP = "it came on the run's last step, after which OneTrainer looks at no command"


class Training:
    """One attempt. `run` is called once."""

    def __init__(self, session: Session, checkout: Checkout, config: Any) -> None:
        self._session = session
        self._checkout = checkout
        self._config = config
        self._orders = Orders(session)
        self._scalars = Scalars()
        self._printed = Printed()
        self._callbacks = Callbacks(session, self._scalars, self._turn)
        self._files = Files(session, self._orders, self._callbacks, self._printed)
        self._samples = Samples(session, self._orders, self._callbacks, self._printed)
        self._commands = new_commands(checkout, self._orders)
        self._sink = Sink(session, checkout, config, self._commands, self._orders)
        self._backup: Path | None = None
        self._begun_at = self._callbacks.place
        self._trainer: Any = None
        self._stage = "start"
        self._failed = False

    def run(self) -> Outcome:
        """Raises what OneTrainer raises, with `where` set on it."""
        config, session = self._config, self._session
        is_multi = multi.is_asked_for(config)
        workspace = Path(config.workspace_dir).absolute()
        session.ready(
            backend="onetrainer", capabilities=_CAPABILITIES - {"pause_hold"} if is_multi else _CAPABILITIES,
            torch=self._checkout.torch_version, device=str(config.train_device), workspace_dir=workspace, samples_dir=workspace / "samples",
        )  # fmt: skip
        self._callbacks.phase("loading")
        self._backup = self._files.last_backup = backups.choose(config, session)
        if is_multi and self._backup is not None:
            backups.force_by_name(config, self._backup)
        self._printed.listen()
        try:
            with contextlib.ExitStack() as stack:
                if is_multi:
                    stack.enter_context(multi.prepared(self._watch))
                    self._sink.waits_for_ranks = stack.enter_context(multi.stops_in_step(self._sink.apply_stop))
                trainer = self._checkout.create_trainer(config, self._callbacks.build(self._checkout), self._commands)
                if not is_multi:
                    self._watch(trainer)
                session.attach(self._sink)
                trainer.start()
                trainer.train()
                trainer.end()
        except Exception as error:
            error_to_raise = self._told(error)
            error_to_raise.where = self._stage  # type: ignore[attr-defined]  # read by trainer.main for the error event
            if error_to_raise is error:
                raise
            raise error_to_raise from error
        finally:
            self._close_writer()
        return self._outcome()

    def _watch(self, trainer: Any) -> None:
        """Put this attempt's eyes and ears on the GenericTrainer *trainer*."""
        lack(trainer, ("start", "train", "end", "tensorboard", "config"), "trainer")
        self._trainer = trainer
        self._sink.config = trainer.config
        if self._orders.is_backup_wanted:
            trainer.config.backup_before_save = True
        if self._backup is not None:
            backups.force(trainer, self._backup)
        self._scalars.tap(trainer.tensorboard)
        start, train, end = trainer.start, trainer.train, trainer.end
        trainer.start = lambda: self._start(trainer, start)
        trainer.train = lambda: self._train(train)
        trainer.end = lambda: self._end(end)

    def _start(self, trainer: Any, start: Any) -> None:
        try:
            start()
        except Exception:
            self._failed = True
            raise
        lack(trainer, ("model", "model_saver", "model_sampler"), "trainer")
        self._files.tap(trainer.model_saver)
        self._samples.tap(trainer.model_sampler)
        self._callbacks.begin_at(trainer.model.train_progress)
        self._begun_at = self._callbacks.place
        if self._backup is not None:
            self._session.continued(self._backup, self._begun_at)

    def _train(self, train: Any) -> None:
        self._stage = "train"
        try:
            train()
        except Exception:
            self._failed = True
            self._callbacks.tell_rest()
            raise
        finally:
            self._files.settle()
        self._samples.settle()
        self._orders.close(_AFTER_STOP if self._orders.is_stopping else _LAST_STEP)

    def _end(self, end: Any) -> None:
        """OneTrainer's end(), but not after a failure (MultiTrainer calls it even then) or a release: it would write over a good model."""
        if self._failed or self._is_released:
            return
        self._stage = "end"
        self._files.is_ending = True
        try:
            end()
        except Exception as error:
            self._files.settle()
            self._session.error("end", error)
            raise finish.not_saved(self._trainer, self._files, self._callbacks.place, self._session, error) from error
        self._files.settle()

    def _turn(self, previous_status: str) -> None:
        self._files.settle()
        if previous_status == "sampling":
            self._samples.settle()
        if self._is_released:
            self._commands.stop()

    @property
    def _is_released(self) -> bool:
        return self._callbacks.is_released and not self._orders.is_stopping

    def _told(self, error: Exception) -> Exception:
        """*error*, or a clearer one to be raised from it."""
        self._failed = True
        if self._stage == "start":
            return missing.model_behind(error, self._config) or error
        if "became NaN" in str(error) and not isinstance(error, NotFiniteLossError):
            return NotFiniteLossError(str(error))
        return error

    def _outcome(self) -> Outcome:
        return finish.outcome(finish.Facts(
            begun_at=self._begun_at, place=self._callbacks.place, batches=self._callbacks.steps,
            has_stepped=bool(getattr(self._trainer, "one_step_trained", False)), is_released=self._is_released,
            is_stopping=self._orders.is_stopping, last_backup=self._files.last_backup, model_path=self._files.model_path,
            continued_from=self._backup,
        ), self._config)  # fmt: skip

    def _close_writer(self) -> None:
        """So that the event files hold the last scalars also where end() was not called."""
        if self._trainer is None:
            return
        try:
            self._trainer.tensorboard.close()
        except Exception as error:  # noqa: BLE001 - on the way out; the training's own end is what counts
            sys.stderr.write(f"the TensorBoard writer could not be closed: {error}\n")
