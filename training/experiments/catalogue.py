"""Every experiment by its name."""

from __future__ import annotations

from collections.abc import Mapping

from training.experiments.amd import AMD
from training.experiments.augmentation import AUGMENTATION
from training.experiments.densenet import DENSENET
from training.experiments.description import Description
from training.experiments.mixup import MIXUP
from training.experiments.pinet_windows import PI_NET_WINDOWS
from training.experiments.selftraining import SELF_TRAINING
from training.experiments.series import TPKD_BASIC_MOTIONS, TPKD_GUN_POINT
from training.experiments.tgd import TGD
from training.experiments.three_teachers import THREE_TEACHERS
from training.experiments.tpkd import TPKD

ALL = (
    *(TGD, TPKD, TPKD_GUN_POINT, TPKD_BASIC_MOTIONS, AMD, MIXUP, AUGMENTATION, THREE_TEACHERS),
    *(PI_NET_WINDOWS, DENSENET, SELF_TRAINING),
)
EXPERIMENTS: Mapping[str, Description] = {each.name: each for each in ALL}
