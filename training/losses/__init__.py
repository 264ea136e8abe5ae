"""Losses of distillation: pure functions of tensors, a file for each family.

Logits are (n, classes), maps (n, channels, *positions) with one, two or more axes of positions.
What a number is the mean of is in a function's name or in its required `reduction`:

- `batch_mean`: summed over everything but the batch, then the mean over the batch;
- `element_mean`: the mean over all elements. Released code of several papers uses it where the
  formula in the paper is a `batch_mean`, so a weight from a paper means one of the two.

Half precision is widened to float32 first, under autocast too. Nothing is detached: whoever calls
passes teachers' tensors that need no gradient. What has a wrong shape raises InvalidSpec.
"""
