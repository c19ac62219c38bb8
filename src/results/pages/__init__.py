"""Self-contained HTML pages about finished runs."""
