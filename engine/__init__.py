"""Loopscope's engine: train small models live, without knowing who is watching."""

import os

# torch's threads spin while they wait for each other. Beside a browser, on a laptop of two cores, that made a GPT
# step ten times slower; waiting asleep costs nothing measurable. Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
