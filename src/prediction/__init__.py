"""Prediction with a trained network: on images in memory, and on folders of files."""
