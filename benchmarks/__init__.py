"""What `make bench` measures, one subject a file. `tests` holds no threshold of time: these files do."""
