"""Networks for distillation: classifiers of signals, images and vectors, and PI-Nets.

`build("wrn-16-1", channels=3, classes=10, dimensions=2)` gives one; what it gives for a batch has
`logits` and `maps`.
"""

from training.models.catalogue import MODELS, PI_NETS, build, build_pi_net
from training.models.network import Network, count_parameters
from training.models.outputs import Outputs, Prediction

__all__ = [
    "MODELS",
    "PI_NETS",
    "Network",
    "Outputs",
    "Prediction",
    "build",
    "build_pi_net",
    "count_parameters",
]
