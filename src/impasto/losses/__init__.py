"""The mathematics: a style's moments, and the losses of moments, features and pixels.

Needs torch alone: no network, no weights, no picture file.
"""

from impasto.losses.features import (
    STYLE_LOSSES,
    LossScale,
    content,
    content_factor,
    content_slope,
    gram,
    meanstd,
    self_similarity,
    squared_distance,
    style,
    wasserstein,
)
from impasto.losses.pixels import out_of_range, total_variation
from impasto.losses.roots import eigen, matrix_sqrt, trace_sqrt

__all__ = [
    "STYLE_LOSSES", "LossScale", "content", "content_factor", "content_slope", "eigen", "gram",
    "matrix_sqrt", "meanstd", "out_of_range", "self_similarity", "squared_distance", "style",
    "total_variation", "trace_sqrt", "wasserstein",
]  # fmt: skip
