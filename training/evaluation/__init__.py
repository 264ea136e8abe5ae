"""What a trained network is worth: predictions of a side, and figures of merit with one meaning."""
