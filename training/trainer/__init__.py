"""The one training loop, its configuration, checkpoints and logs."""
