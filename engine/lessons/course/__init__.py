"""The lessons, in the order of the path. Each is one file of data; `scene.py` says what it is made of."""
