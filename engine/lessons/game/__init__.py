"""You against the model: Shannon's guessing game of 1951, alone or in a room, and a model's figure beside it."""
