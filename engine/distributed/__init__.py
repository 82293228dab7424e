"""One run on several processes that torchrun started: who takes part, and what they tell each other in each step."""
