"""A table of interactions in, recommendations out: feature-interaction models in pure PyTorch."""

from recolib.exceptions import NotFittedError, UnknownIdWarning

__version__ = "0.1.0"

__all__ = ["NotFittedError", "UnknownIdWarning", "__version__"]
