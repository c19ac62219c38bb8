"""What finished runs have left."""
