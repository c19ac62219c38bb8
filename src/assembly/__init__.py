"""What each command does once its values are read; imported late, so that help and misspelt names answer at once."""
