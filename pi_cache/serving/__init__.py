"""The read-only HTTP service: finished stores for other hosts."""
