"""The machinery of a run: its folder, its checkpoints, its logs, and how it goes on."""
