"""What other programs load: one writer for each format, which reads its file back and compares before it is kept."""
