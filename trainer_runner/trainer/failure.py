"""Which cause an exception stands for. Pure; the runner makes the exit cause from it."""

import errno

from trainer_runner.trainer.backend import ConfigError, NotFiniteLossError


def cause_of(error: BaseException) -> str:
    """One of the causes in PROTOCOL.md, read from the exception and from what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        cause = _own_cause(current)
        if cause is not None:
            return cause
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return "exception"


def _own_cause(error: BaseException) -> "str | None":
    # torch.OutOfMemoryError was torch.cuda.OutOfMemoryError before 2.5; by name, since torch is not imported here.
    if type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in str(error):
        return "cuda_oom"
    match error:
        case MemoryError():
            return "host_oom"
        case NotFiniteLossError():
            return "nan_loss"
        case ConfigError():
            return "config_error"
        case FileNotFoundError() | NotADirectoryError():
            return "missing_file"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "disk_full"
    return None
