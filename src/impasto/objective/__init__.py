"""The objective of one scale: what the pixels are compared with, and the gradient of the loss."""

from impasto.objective.objective import Objective, Target, Terms
from impasto.objective.spec import Spec
from impasto.objective.targets import StyleMoments, objective_of

__all__ = ["Objective", "Spec", "StyleMoments", "Target", "Terms", "objective_of"]
