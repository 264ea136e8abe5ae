"""Batched augmentations and corruptions, and what each does to a persistence image.

Images are (n, C, H, W) and signals (n, C, T), on any device, before they are normalised. What only
moves values keeps their dtype; what computes new ones gives floats, and bytes are then divided by
255 first, as everywhere. Every random number comes from the `torch.Generator` that is passed.
"""
