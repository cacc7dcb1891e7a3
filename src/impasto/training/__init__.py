"""A network of one's own style: trained on photos, written as ONNX."""

from impasto.training.trainer import Trainer

__all__ = ["Trainer"]
