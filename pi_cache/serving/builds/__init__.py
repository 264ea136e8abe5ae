"""Builds on demand: requests of clients, a queue that survives a restart, and who computes."""
