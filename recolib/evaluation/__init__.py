"""Evaluation: how good a model is on data that it did not see."""

from recolib.evaluation.measurement import evaluate

__all__ = ["evaluate"]
