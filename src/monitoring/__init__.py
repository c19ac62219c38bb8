"""Callbacks that only watch a run."""
