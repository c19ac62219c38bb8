"""Results of finished runs: scores and tables."""
