"""The papers' experiments, each from raw data to its page by one command."""
