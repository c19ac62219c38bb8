"""Finished runs sorted into the tables of the paper, with the published numbers beside ours."""
