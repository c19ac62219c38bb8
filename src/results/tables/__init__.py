"""The tables of the paper, filled with the numbers of finished runs beside the published numbers."""
