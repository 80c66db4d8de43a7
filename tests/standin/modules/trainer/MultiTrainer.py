"""One rank, this process; as in OneTrainer the trainer is made here from a copy of the config, and end() comes in a `finally`."""

import os
from typing import Any

from modules.trainer.GenericTrainer import GenericTrainer
from modules.util.commands.TrainCommands import TrainCommands
from modules.util.config.TrainConfig import TrainConfig


class MultiTrainer:
    def __init__(self, config: Any, callbacks: Any, commands: Any) -> None:
        self.config = config
        self.callbacks = callbacks
        self.commands = commands

    def start(self) -> None:
        os.environ.setdefault("MASTER_ADDR", "localhost")
        os.environ.setdefault("MASTER_PORT", "12355")
        print(f"meeting at port {os.environ['MASTER_PORT']}")

    def train(self) -> None:
        config = TrainConfig.default_values().from_dict(self.config.to_pack_dict(secrets=True))
        trainer = GenericTrainer(config, self.callbacks, TrainCommands(), global_commands=self.commands)
        try:
            trainer.start()
            trainer.train()
        finally:
            trainer.end()

    def end(self) -> None:
        pass
