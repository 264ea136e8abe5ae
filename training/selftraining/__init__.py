"""Samples without labels: labels that a teacher gives them, and students that learn from these."""
