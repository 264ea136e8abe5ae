"""Whether a finished store is what was built, and how one that is not is mended."""
