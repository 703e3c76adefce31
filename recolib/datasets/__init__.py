"""Data to start with."""

from recolib.datasets.movielens import fetch_movielens
from recolib.datasets.movies import make_movies

__all__ = ["fetch_movielens", "make_movies"]
