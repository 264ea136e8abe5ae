"""Settings of published work by name: how it trained, and by which method.

A preset says what a paper and its released code say. What they do not say is chosen, and named in
`chosen`. Most papers chose their epoch on test data; a preset chooses on validation data, or takes
the last epoch where the paper did, and `picked` says what the paper did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from training.augment.base import Augmentation
from training.augment.images import PadCrop, Symmetry
from training.augment.mixing import Mixup
from training.augment.signals import Removal, Shift
from training.methods.amd import Amd, AmdGlobalLocal
from training.methods.base import Method
from training.methods.kd import Eskd, FullKd
from training.methods.logits import MixupKd
from training.methods.topology import TdaKd, Tgd, Tpkd
from training.trainer.config import TrainConfig

TEST = "the best epoch on test data"
UNKNOWN = (
    "an epoch by a rule that was not found; released code of the group takes that on test data"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How a paper trained.

    config: of the loop. method: None where nothing is distilled. student, teachers: names of
    networks, teachers in the order of the method. reads: the view of the student and of each
    teacher, where stores of persistence images are called pi, rows and columns. normalise: see
    `views.fit_view`. augment: of inputs, in order. start: the student starts from a network of its
    kind that was trained alone. picked: how the paper chose its epoch. chosen: what was not found,
    and what stands here instead. source: where the rest is from.
    """

    config: TrainConfig
    student: str
    source: str
    picked: str
    method: Method | None = None
    teachers: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("inputs",)
    normalise: str = "values"
    augment: tuple[Augmentation, ...] = ()
    start: bool = False
    chosen: tuple[str, ...] = ()

    @property
    def models(self) -> dict[str, str]:
        """Names of networks: `student`, and `teacher 1` and so on."""
        teachers = {f"teacher {k}": name for k, name in enumerate(self.teachers, 1)}
        return {"student": self.student, **teachers}

    @property
    def notes(self) -> str:
        """What a user should know, in sentences."""
        said = [f"the paper took {self.picked}", *self.chosen]
        if self.start:
            said.append("the student starts from one that was trained alone")
        return " ".join(f"{text[0].upper()}{text[1:]}." for text in said)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "config": self.config.to_dict(),
            "method": None if self.method is None else self.method.to_dict(),
            "models": self.models,
            "reads": list(self.reads),
            "normalise": self.normalise,
            "augment": [each.to_dict() for each in self.augment],
            "start": self.start,
            "notes": self.notes,
            "source": self.source,
        }


_IMAGES = TrainConfig(
    epochs=200, batch_size=128, learning_rate=0.1, schedule="steps:0.2@40,80,120,160"
)
"""SGD with momentum 0.9 and weight decay 1e-4, the defaults, as are all that is not written."""
_WINDOWS = TrainConfig(epochs=200, batch_size=64, learning_rate=0.05, schedule="tda-kd")
_SCHEDULE = "epochs, batches and rates were not found, and are those of TDA_KD, of the same group"
_NORMS = "how windows are normalised was not found, and is as in TDA_KD"

_TGD = Preset(
    config=replace(_IMAGES, seed=1234),
    method=Tgd(),
    student="wrn-16-1",
    teachers=("wrn-16-3", "wrn-16-3"),
    reads=("inputs", "inputs", "rows + columns"),
    start=True,
    picked=TEST,
    chosen=(
        "alpha is 0.99, the default of the released script, whose README says 0.95",
        "the teachers' architecture is WRN-16-3, one of those with released students",
    ),
    source="Jeon et al., 2024, arXiv 2407.05316: released code",
)
_PAMAP2 = Preset(
    config=_WINDOWS,
    method=TdaKd(),
    student="wrn-16-1",
    teachers=("wrn-16-3", "wrn-16-3"),
    reads=("inputs", "pi", "inputs"),
    normalise="windows",
    picked="the best epoch on the test subject",
    chosen=("teachers are WRN-16-3, one of four that were used",),
    source="Jeon et al., Asilomar 2022: released code",
)
_TPKD = replace(
    _PAMAP2,
    method=Tpkd(),
    start=True,
    picked=UNKNOWN,
    chosen=(
        *_PAMAP2.chosen,
        _SCHEDULE,
        "the form of orthogonal features was not found, see docs/methods/tpkd.md",
    ),
    source="Jeon et al., EAAI 2024, arXiv 2407.05315: by notes on it",
)
_AMD = Preset(
    config=_IMAGES,
    method=Amd(),
    student="wrn-16-1",
    teachers=("wrn-16-3",),
    reads=("inputs", "inputs"),
    picked=UNKNOWN,
    chosen=("layers are all three stages",),
    source="Jeon et al., Neurocomputing 518, 2023, arXiv 2302.14130: tables and released code",
)
_AMD_TINY = replace(
    _AMD,
    config=replace(_IMAGES, epochs=100, batch_size=256, schedule="steps:0.1@30,60,90"),
    method=Amd(kd_weight=0.3, temperature=16.0),
    augment=(PadCrop(padding=2), Symmetry(symmetry="flip")),
    chosen=(
        *_AMD.chosen,
        "gamma was not found for Tiny-ImageNet, and is CIFAR-10's",
        "networks, momentum and weight decay are CIFAR-10's",
    ),
)
_CROPPED = (PadCrop(padding=4), Symmetry(symmetry="flip"))
_MIXUP = Preset(
    config=TrainConfig(
        epochs=240,
        batch_size=64,
        learning_rate=0.05,
        weight_decay=5e-4,
        schedule="steps:0.1@150,180,210",
        select="last",
    ),
    method=MixupKd(),
    student="resnet-56",
    teachers=("resnet-110",),
    reads=("inputs", "inputs"),
    augment=(*_CROPPED, Mixup(kept=0.9, replacement=True, both=True)),
    picked="the last epoch",
    chosen=("take learning_rate 0.01 for MobileNetV2 and ShuffleNet",),
    source="Choi et al., WACV 2023, arXiv 2211.03946: released code",
)
_ESKD = Preset(
    config=_WINDOWS,
    method=Eskd(),
    student="wrn-16-1",
    teachers=("wrn-16-3",),
    reads=("inputs", "inputs"),
    normalise="windows",
    picked=UNKNOWN,
    chosen=(_SCHEDULE, _NORMS),
    source="Jeon et al., IEEE IoT Journal 2021, arXiv 2201.00111: by notes on it",
)
_MIX1 = replace(
    _ESKD,
    augment=(Removal(), Shift()),
    chosen=(
        *_ESKD.chosen,
        "Mix1 is removal and shift, of the student's and so of the teacher's batch; their sizes"
        " were not found, and are 20 % and 10 % of a window",
    ),
)
_PI_NET = Preset(
    config=TrainConfig(
        epochs=1000,
        batch_size=128,
        optimizer="adam",
        learning_rate=1e-3,
        betas=(0.99, 0.999),
        epsilon=0.1,
        weight_decay=0.0,
        schedule="values:1e-3@0,1e-4@300,1e-5@600",
        seed=100,
    ),
    student="pi-net-signal",
    picked="an epoch by a rule that was not found; its code watches test data each epoch",
    chosen=("how windows are normalised was not found beyond zero mean and deviation one",),
    source="Som et al., CVPR Workshops 2020, arXiv 1906.01769: code for USC-HAD",
)

PRESETS: Mapping[str, Preset] = {
    "tgd-cifar10": _TGD,
    "tgd-cinic10": replace(
        _TGD,
        chosen=(*_TGD.chosen, "settings of CINIC-10 were not found, these are CIFAR-10's"),
    ),
    "tda-kd-pamap2": _PAMAP2,
    "tpkd-pamap2": _TPKD,
    "tpkd-geneactiv": replace(
        _TPKD,
        method=Tpkd(kd_weight=0.7, weights=(0.3, 0.7), orthogonal_weight=700.0),
        chosen=(*_TPKD.chosen, _NORMS),
    ),
    "amd-cifar10": _AMD,
    "amd-cinic10": replace(_AMD, method=Amd(kd_weight=0.6, temperature=16.0)),
    "amd-tiny-imagenet": _AMD_TINY,
    "amd-gl-cifar10": replace(_AMD, method=AmdGlobalLocal()),
    "amd-gl-cinic10": replace(_AMD, method=AmdGlobalLocal(kd_weight=0.6, temperature=16.0)),
    "amd-gl-tiny-imagenet": replace(
        _AMD_TINY, method=AmdGlobalLocal(kd_weight=0.3, temperature=16.0)
    ),
    "mixup-cifar100": _MIXUP,
    "mixup-cifar100-full": replace(_MIXUP, augment=(*_CROPPED, Mixup(both=True))),
    "eskd-geneactiv": _ESKD,
    "eskd-pamap2": replace(_ESKD, method=Eskd(kd_weight=0.99)),
    "eskd-geneactiv-mix1": _MIX1,
    "eskd-pamap2-mix1": replace(_MIX1, method=Eskd(kd_weight=0.99)),
    "full-kd-geneactiv": replace(_ESKD, method=FullKd()),
    "full-kd-pamap2": replace(_ESKD, method=FullKd(kd_weight=0.99)),
    "pi-net-signal": _PI_NET,
    "pi-net-image": replace(
        _PI_NET,
        student="pi-net-image",
        chosen=("how Image PI-Net was trained was not found; this is as signals were",),
    ),
}
