"""Subpixel sampling reconstruction: rendering, data, training, evaluation and export (`python -m training.ssr`)."""
