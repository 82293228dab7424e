"""The learning rate of each step: a share of the peak that a knob sets.

It depends on the step and on the settings in force at it, and on nothing that came before. So a rate or a number of
steps that is changed on the way gives a new plan from that step on, and a run that is resumed or forked goes on with
the very same rates. The board draws what is planned by the same rule, in pages/board/charts/schedule.js.
"""

from __future__ import annotations

import math

from ..config import LiveSettings


def rate_at(settings: LiveSettings, step: int) -> float:
    """The learning rate of step `step`, counted from 1.

    The first `warmup_steps` steps climb: lr · step / (warmup_steps + 1). Then "cosine" falls along half a cosine to
    lr · final_share; "linear" stays at lr until `decay_share` of the steps are left, and falls along a line;
    "constant" stays. A step after the last one, as it is looked at when a run is done, has the rate of the last.
    """
    step = min(step, settings.max_steps)
    if step <= settings.warmup_steps:
        return settings.lr * step / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return settings.lr
    begins, last = settings.warmup_steps, settings.max_steps
    if settings.schedule == "linear":
        begins = max(begins, int(last * (1 - settings.decay_share)))
    fallen = min(1.0, max(0, step - 1 - begins) / max(1, last - begins))
    left = 0.5 * (1 + math.cos(math.pi * fallen)) if settings.schedule == "cosine" else 1 - fallen
    return settings.lr * (settings.final_share + (1 - settings.final_share) * left)


def is_constant(settings: LiveSettings) -> bool:
    """Does every step have the same rate?"""
    return settings.schedule == "constant" and settings.warmup_steps == 0
