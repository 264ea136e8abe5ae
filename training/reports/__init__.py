"""Tables and figures of many runs: mean and deviation, folds, paired tests, pictures."""
