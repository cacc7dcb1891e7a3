"""How near a result is to its photo and to its painting, and what a classifier sees in it."""

from impasto.evaluation.classify import Classifier, Prediction
from impasto.evaluation.judge import Judge, Verdict, evaluate

__all__ = ["Classifier", "Judge", "Prediction", "Verdict", "evaluate"]
