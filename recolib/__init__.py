"""A table of interactions in, recommendations out: feature-interaction models in pure PyTorch."""

from recolib.algorithms import FM, NFM, DeepFM
from recolib.data import DataInfo, DatasetFeat, DatasetPure
from recolib.evaluation import evaluate
from recolib.exceptions import NotFittedError, UnknownIdWarning
from recolib.loading import load
from recolib.version import __version__

__all__ = [
    "FM",
    "NFM",
    "DataInfo",
    "DatasetFeat",
    "DatasetPure",
    "DeepFM",
    "NotFittedError",
    "UnknownIdWarning",
    "__version__",
    "evaluate",
    "load",
]
