"""Expressions: data, label distributions, training, evaluation. `python -m training.expression train|export|evaluate`."""
