"""The objective of one scale: what the pixels are compared with, and the gradient of the loss."""

from impasto.objective.objective import Objective, Target, Terms
from impasto.objective.spec import Spec
from impasto.objective.targets import Styles, matching_bytes, objective_of

__all__ = ["Objective", "Spec", "Styles", "Target", "Terms", "matching_bytes", "objective_of"]
