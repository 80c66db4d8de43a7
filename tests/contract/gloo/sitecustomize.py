"""Lets OneTrainer's MultiTrainer run on a CPU: on the path of the trainer's Python in one test, and of the ranks that it spawns.

MultiTrainer asks for NCCL and CUDA devices by name; here the ranks meet over gloo. Everything else is OneTrainer's own.
"""

import os
import sys
from typing import Any

if any(argument == "trainer" or "spawn_main" in argument for argument in sys.orig_argv):
    import torch

    meet = torch.distributed.init_process_group

    def meet_over_gloo(**arguments: Any) -> Any:
        arguments.pop("device_id")
        print(f"rank {arguments['rank']} meets at port {os.environ['MASTER_PORT']}", flush=True)
        return meet(**{**arguments, "backend": "gloo"})

    torch.distributed.init_process_group = meet_over_gloo  # type: ignore[assignment]  # by keyword alone, as OneTrainer calls it
    torch.cuda.set_device = lambda *_: None
    torch.cuda.get_device_name = lambda *_: "cpu"
