"""Every random number of a training is a pure function of the config's seed and of its place.

So there is no generator state to back up, a continued training is exact by construction, and sampling or a pause cannot disturb it.
"""

import hashlib
import secrets

import torch


def generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """A CPU generator of its own for *purpose* at *number*; on the CPU also for CUDA, so that the device changes nothing."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{number}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def fresh_seed() -> int:
    """A seed from the system, for samples with `random_seed`."""
    return secrets.randbits(31)
