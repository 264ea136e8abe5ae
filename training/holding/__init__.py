"""Ways to hold the samples of a dataset while a job trains: chosen by size, with the reason.

A holder has a `len`, gives `batch(positions)` as a dict of tensors, says `why` it was chosen, and
lets go of everything by `close`.
"""
