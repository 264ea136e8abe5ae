"""Which samples belong together: joins by id, folds and splits as views, leakage between them."""
