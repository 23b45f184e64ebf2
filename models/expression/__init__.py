"""Facial expressions: a distribution with its uncertainty."""
