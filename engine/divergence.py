"""A divergence as a lesson: what happened, in numbers from the history, and where to take the run up again."""

from __future__ import annotations

from engine.stream import History

REWOUND = 50
"""Steps between the point where a run is taken up again and the trouble that it had."""
KNOBS = ("lr", "batch_size", "weight_decay", "grad_clip")


def rewound_to(history: History, last: int) -> int:
    """REWOUND steps before the last update, or before the first knob turned on the way there."""
    with history.lock:
        turned = [event.step for event in history.events if event.name in KNOBS]
    trouble = min((step for step in turned if last - REWOUND < step <= last), default=last)
    return max(0, trouble - REWOUND)
