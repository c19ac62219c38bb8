"""The work of each command, after its config is read. It is imported late, so that help and config errors are quick."""
