"""Callbacks that observe a run and do not change its training."""
