"""Data to start with."""

from recolib.datasets.movies import make_movies

__all__ = ["make_movies"]
