"""What a run is, from its data to its folder; and many of them, over arms, folds and seeds."""
