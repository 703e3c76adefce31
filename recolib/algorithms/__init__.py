"""The algorithms, one file each."""

from recolib.algorithms.afm import AFM
from recolib.algorithms.deepfm import DeepFM
from recolib.algorithms.deepifm import DeepIFM
from recolib.algorithms.fm import FM
from recolib.algorithms.ifm import IFM
from recolib.algorithms.inn import INN
from recolib.algorithms.nfm import NFM

__all__ = ["AFM", "FM", "IFM", "INN", "NFM", "DeepFM", "DeepIFM"]
