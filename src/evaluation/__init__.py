"""How a prediction becomes a score."""
