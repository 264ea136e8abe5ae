"""What a store shows and what it does not, read from what was counted when it was built.

`coverage`: the window of the images beside the points. `inputs`: the values that were filtered.
`windows`: where windows of recordings come from, and how many there are of whom. `suggestion`: a
better window of the images. `explain`: how the images of one sample came about. `text`: all of it
as lines. The pictures are drawn by `pipeline.figures`.
"""
