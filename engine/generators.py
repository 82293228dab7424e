"""Random generators: one for each purpose, all derived from the run's seed.

Data, initial weights, dropout, evaluation and samples never share a generator, so watching a run cannot change it. All
generators are on the CPU, but dropout's with CUDA, so a seed gives the same batches on every device.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for `purpose` ("data", "weights", "dropout", "evaluation", "sample")."""
    return torch.Generator(device).manual_seed(seed_for(seed, purpose))


def seed_for(seed: int, purpose: str) -> int:
    """The seed of a generator for `purpose`, at most 63 bits."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
