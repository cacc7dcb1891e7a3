"""The recipe: from a photo and a painting to the painted picture, step by step."""

from impasto.painting.api import Loaded, start_run, steps, stylize
from impasto.painting.one_pass import OnePassRun
from impasto.painting.optimized import Engine, OptimizedRun
from impasto.painting.run import (
    Finished,
    PaintingRun,
    Record,
    Result,
    Run,
    Step,
    mix,
    mixed_again,
    others_of,
)
from impasto.painting.shared import SharedRun

__all__ = [
    "Engine",
    "Finished",
    "Loaded",
    "OnePassRun",
    "OptimizedRun",
    "PaintingRun",
    "Record",
    "Result",
    "Run",
    "SharedRun",
    "Step",
    "mix",
    "mixed_again",
    "others_of",
    "start_run",
    "steps",
    "stylize",
]  # fmt: skip
