"""Stores on other machines: read shard by shard through a cache on this one, pulled, and pushed."""
