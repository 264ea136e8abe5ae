"""Delay and dimension of delay embeddings: curves, rules, and what a source's windows come to."""
