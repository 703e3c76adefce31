"""Evaluation: how good a model is on data that it did not see."""

from recolib.evaluation.measurement import evaluate
from recolib.evaluation.metrics import Metric

__all__ = ["Metric", "evaluate"]
