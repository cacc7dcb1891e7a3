"""Style transfer as data augmentation: a transform for training pictures, and a folder's copy."""

from impasto.augmentation.transform import StyleTransfer

__all__ = ["StyleTransfer"]
