"""The networks' weights: what ships, what can be downloaded, and proof of what a file is."""

from impasto.weights.catalogue import (
    CATALOGUE,
    VGG16_CONVOLUTIONS,
    VGG19_CONVOLUTIONS,
    WeightFile,
    convolution_names,
    entry,
)
from impasto.weights.download import IMAGENET_MEAN, from_torchvision, get
from impasto.weights.files import cache_folder, path, recorded, verify, write
from impasto.weights.loading import load

__all__ = [
    "CATALOGUE", "IMAGENET_MEAN", "VGG16_CONVOLUTIONS", "VGG19_CONVOLUTIONS", "WeightFile",
    "cache_folder", "convolution_names", "entry", "from_torchvision", "get", "load", "path",
    "recorded", "verify", "write",
]  # fmt: skip
