"""The algorithms, one file each."""

from recolib.algorithms.deepfm import DeepFM
from recolib.algorithms.fm import FM

__all__ = ["FM", "DeepFM"]
