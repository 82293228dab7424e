"""Other first weights than a model's own, to see what they do to the first losses."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config import FirstWeights
from ..models.base import Model

STD = {"normal": 1.0, "small": 0.02, "small-scaled": 0.02}


def draw_first_weights(model: Model, kind: FirstWeights, generator: torch.Generator) -> None:
    """Draw all matrices of `model` anew, in their order; biases and norms stay as they are.

    "zeros" sets them to 0, "normal" draws from N(0, 1), "small" from N(0, 0.02), and "small-scaled" divides that by
    the root of the number of matrices that add to the stream, for these (GPT-2's way); "own" changes nothing.
    """
    if kind == "own":
        return
    adds = set(model.residual_matrices()) if kind == "small-scaled" else set()
    for parameter in model.parameters():
        if parameter.dim() < 2:
            continue
        if kind == "zeros":
            nn.init.zeros_(parameter)
        else:
            narrowed = math.sqrt(len(adds)) if parameter in adds else 1.0
            nn.init.normal_(parameter, std=STD[kind] / narrowed, generator=generator)
