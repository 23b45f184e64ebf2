"""Expressions: data, label distributions, training. `python -m training.expression train|export|evaluate`."""
