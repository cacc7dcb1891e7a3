"""Films: read, painted frame by frame with an eye on those before, and written."""

from impasto.video.film import Film, FilmFrame
from impasto.video.reading import Clip, Frame, recipe_of
from impasto.video.unfinished import Unfinished
from impasto.video.writing import CONTAINERS, Format, check_output, join

__all__ = [
    "CONTAINERS", "Clip", "Film", "FilmFrame", "Format", "Frame", "Unfinished", "check_output",
    "join", "recipe_of",
]  # fmt: skip
