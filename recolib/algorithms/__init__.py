"""The algorithms, one file each."""

from recolib.algorithms.afm import AFM
from recolib.algorithms.als import ALS
from recolib.algorithms.autoint import AutoInt
from recolib.algorithms.dcnv2 import DCNv2
from recolib.algorithms.deepfm import DeepFM
from recolib.algorithms.deepifm import DeepIFM
from recolib.algorithms.din import DIN
from recolib.algorithms.ease import EASE
from recolib.algorithms.finalmlp import FinalMLP
from recolib.algorithms.fm import FM
from recolib.algorithms.ifm import IFM
from recolib.algorithms.inn import INN
from recolib.algorithms.nfm import NFM
from recolib.algorithms.sasrec import SASRec
from recolib.algorithms.twotower import TwoTower
from recolib.algorithms.widedeep import WideDeep
from recolib.algorithms.youtuberetrieval import YouTubeRetrieval

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
    "DeepFM",
    "DeepIFM",
    "FinalMLP",
    "SASRec",
    "TwoTower",
    "WideDeep",
    "YouTubeRetrieval",
]
