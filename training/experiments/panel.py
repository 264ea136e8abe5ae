"""The picture of one sample: what is filtered, its diagrams, and its persistence images."""

from __future__ import annotations

from pi_cache import files
from training.experiments.description import Place

FILE = "sample.png"
SAMPLE = 0
TITLE = "One sample: what is filtered, its diagram, and its persistence image, by channel"


def draw_sample(place: Place) -> str:
    """Let the pipeline draw the first sample of the store `pi`, once; gives the line of a page."""
    if not files.exists(place.folder / FILE):
        key = place.built.stores["pi"].key
        place.call("pipeline", "explain", key[:12], str(SAMPLE), "--png", place.folder / FILE)
    return f"![{TITLE}]({FILE})\n\n{TITLE}."
