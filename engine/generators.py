"""Where random numbers come from: one generator for each purpose, all from the run's seed.

Because data, first weights, dropout, evaluation and samples never share a generator, looking at a run cannot
change it. All generators but dropout's stand on the CPU, so a seed means the same batches on every device.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for `purpose` ("data", "weights", "dropout", "evaluation", "sample")."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
