"""TDA_KD and TPKD on time series of the UCR and UEA archives, in stratified folds."""

from __future__ import annotations

from dataclasses import dataclass

from training.augment.corruptions import Levels
from training.experiments.description import CPU, FULL, SMOKE, Description, Scale
from training.experiments.needs import Counts, Needs
from training.experiments.plans import plan_of
from training.experiments.tpkd import LOGITS, OURS, STUDENT, TEACHERS, TPKD, arms, corrupted_as
from training.experiments.windows import CONFIG, PIXELS, placed

FOLDS = {SMOKE: 2, CPU: 5, FULL: 5}
VALIDATION = 0.2
"""Share of a training side that chooses epochs."""
BATCH = 16
SPREAD = 32
"""Deviations of a Gaussian that the birth axis is wide: one a cell of the images at cpu scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One data set. The window of its images holds births of -reach to reach, and persistences up
    to longest.
    """

    name: str
    folder: str
    what: str
    samples: int
    channels: int
    length: int
    classes: int
    reach: float
    longest: float
    epochs: int

    @property
    def window(self) -> tuple[str, ...]:
        """Words of `pipeline build-pis` for the window of its images."""
        reach = f"{self.reach:g}"
        ranges = (f"--birth-range=-{reach},{reach}", f"--persistence-range=0,{self.longest:g}")
        return (*ranges, "--sigma", f"{2 * self.reach / SPREAD:g}")


GUN_POINT = Series(
    name="gun-point",
    folder="GunPoint",
    what="GunPoint of the UCR archive (how far a hand is along one axis; two classes)",
    samples=200,
    channels=1,
    length=150,
    classes=2,
    reach=2.5,
    longest=3.0,
    epochs=20,
)
BASIC_MOTIONS = Series(
    name="basic-motions",
    folder="BasicMotions",
    what="BasicMotions of the UEA archive (accelerometer and gyroscope of a watch; four classes)",
    samples=80,
    channels=6,
    length=100,
    classes=4,
    reach=25.0,
    longest=50.0,
    epochs=40,
)


def needs(series: Series, scale: str) -> Needs:
    """Its two files, one store of images, and stratified folds of all of its samples."""
    folds, side = FOLDS[scale], PIXELS[scale]
    test = series.samples // folds
    validation = round(VALIDATION * (series.samples - test))
    return Needs(
        data=f"UCR/UEA: ucr_uea/{series.folder}",
        whole=(f"ucr_uea/{series.folder}", "ucr:{path}"),
        stores={"pi": ("build-pis", "--pixels", str(side), *series.window)},
        shapes={
            "inputs": (series.channels, series.length),
            "pi": (series.channels, side, side),
        },
        folds=("--stratified", str(folds), "--validation", str(VALIDATION)),
        counts=Counts(
            train=series.samples - test - validation,
            validation=validation,
            test=test,
            classes=series.classes,
            folds=1 if scale == SMOKE else folds,
        ),
        samples=series.samples,
    )


def scale(series: Series, name: str) -> Scale:
    """What runs at a scale: the arms of TPKD."""
    own = {} if name == SMOKE else {"batch_size": BATCH, "drop_last": True}
    config = {**CONFIG[name], **own, **({"epochs": series.epochs} if name == CPU else {})}
    small = "This scale shows that all of it runs, and its numbers mean nothing."
    schedule = "The schedule is that of TDA_KD."
    short = f"A schedule of {series.epochs} epochs, the paper's has 200."
    first = {SMOKE: small, CPU: short, FULL: schedule}[name]
    return Scale(
        needs=needs(series, name),
        plan=plan_of(
            name,
            arms(*TEACHERS[name]),
            folds=["1"] if name == SMOKE else "all",
            model=STUDENT[name],
            config=config,
            preset="tda-kd-pamap2",
        ),
        data=placed(),
        differs=(
            f"{first} {series.samples} series of {series.what} instead of PAMAP2, as the archive"
            f" has them; {FOLDS[name]} stratified folds of all of them instead of the archive's one"
            " division, so that no number here is one of the archive's tables. The archive does not"
            " say who moved, so that a person may be on both sides. Networks, weights and terms are"
            " those of the experiment `tpkd`; images are those of `pipeline build-pis` without a"
            f" recipe, {PIXELS[name]} x {PIXELS[name]} cells of a window of ours.",
            OURS,
            corrupted_as("0"),
            LOGITS,
        ),
    )


def described(series: Series) -> Description:
    """The experiment on a data set."""
    what = series.what.partition(" (")[0]
    return Description(
        name=f"tpkd-{series.name}",
        title=f"TDA_KD and TPKD on {what}",
        shows=f"The arms of `tpkd` on {what}, in stratified folds.",
        paper=TPKD.paper,
        scales={name: scale(series, name) for name in (SMOKE, CPU, FULL)},
        pairs="folds",
        claims=TPKD.claims,
        metrics=("accuracy", "f1_macro"),
        corrupt=(Levels("noise"), Levels("missing")),
        figures=("confusion", "robustness"),
        shown=("signal-teacher", "pi-teacher", "student", "kd-signal", "tda-kd", "tpkd"),
        sample=True,
    )


TPKD_GUN_POINT, TPKD_BASIC_MOTIONS = (described(each) for each in (GUN_POINT, BASIC_MOTIONS))
