"""Pictures of a model and its data: training, popularity, calibration, cold start and reasons.

They are drawn with matplotlib: ``pip install "recolib[plots]"``. A function draws where it is told, else into a new
figure of ``pyplot``; none of them shows, saves or closes it, or changes settings of matplotlib.
"""

from recolib.plots.comparison import cold_start_comparison
from recolib.plots.epochs import training_curves
from recolib.plots.exposure import popularity_against_exposure
from recolib.plots.reasons import explanation, importance
from recolib.plots.reliability import calibration

__all__ = [
    "calibration",
    "cold_start_comparison",
    "explanation",
    "importance",
    "popularity_against_exposure",
    "training_curves",
]
