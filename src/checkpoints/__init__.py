"""What a run saved: reading it safely, rebuilding networks from it, and starting from the weights of others."""
