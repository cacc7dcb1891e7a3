"""Video files in and out: frames upright and in sRGB, with their exact times; sound copied.

A clip that is being painted is kept in a folder beside the output, so that a run that was stopped
goes on where it was; the film itself is written whole or not at all.
"""

from impasto.clips.reading import Clip, Frame, recipe_of
from impasto.clips.unfinished import Unfinished
from impasto.clips.writing import CONTAINERS, Format, check_output, join

__all__ = [
    "CONTAINERS", "Clip", "Format", "Frame", "Unfinished", "check_output", "join", "recipe_of",
]  # fmt: skip
