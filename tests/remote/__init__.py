"""Remote stores: read, pulled and pushed, over servers and lines that fail."""
