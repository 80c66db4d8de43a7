from typing import Any


def create_trainer(config: Any, callbacks: Any, commands: Any, reattach: bool = False) -> Any:
    if config.cloud.enabled:
        raise RuntimeError("the stand-in has no cloud")
    if config.multi_gpu:
        from modules.trainer.MultiTrainer import MultiTrainer

        return MultiTrainer(config, callbacks, commands)
    from modules.trainer.GenericTrainer import GenericTrainer

    return GenericTrainer(config, callbacks, commands)
