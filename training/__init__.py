"""Training on stored persistence images: torch and `pi_cache`, and no topology library."""
