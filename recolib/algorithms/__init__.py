"""The algorithms, one file each."""

from recolib.algorithms.deepfm import DeepFM
from recolib.algorithms.fm import FM
from recolib.algorithms.nfm import NFM

__all__ = ["FM", "NFM", "DeepFM"]
