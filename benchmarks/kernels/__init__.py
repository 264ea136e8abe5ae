"""Times of our kernels beside those of other libraries: `python -m benchmarks.kernels`."""
