"""A table of interactions in, recommendations out: feature-interaction models in pure PyTorch."""

from recolib.algorithms import (
    AFM,
    ALS,
    DIN,
    EASE,
    FM,
    IFM,
    INN,
    NFM,
    AutoInt,
    DCNv2,
    DeepFM,
    DeepIFM,
    FinalMLP,
    SASRec,
    TwoTower,
    WideDeep,
    YouTubeRetrieval,
)
from recolib.data import DataInfo, DatasetFeat, DatasetPure
from recolib.evaluation import evaluate
from recolib.exceptions import NotFittedError, UnknownIdWarning
from recolib.loading import load
from recolib.processes import watch_forks
from recolib.training.stopping import EarlyStopping
from recolib.version import __version__

__all__ = [
    "AFM",
    "ALS",
    "DIN",
    "EASE",
    "FM",
    "IFM",
    "INN",
    "NFM",
    "AutoInt",
    "DCNv2",
    "DataInfo",
    "DatasetFeat",
    "DatasetPure",
    "DeepFM",
    "DeepIFM",
    "EarlyStopping",
    "FinalMLP",
    "NotFittedError",
    "SASRec",
    "TwoTower",
    "UnknownIdWarning",
    "WideDeep",
    "YouTubeRetrieval",
    "__version__",
    "evaluate",
    "load",
]

watch_forks()
