"""Loading a model of which only the file is known."""

from __future__ import annotations

import os
from pathlib import Path

from recolib import algorithms
from recolib.artifacts.model_file import SavedModel
from recolib.checks import check_bool
from recolib.data.info import DataInfo
from recolib.files import SUFFIX, local_path
from recolib.recommender import Recommender

ALGORITHMS: dict[str, type[Recommender]] = {name: getattr(algorithms, name) for name in algorithms.__all__}
"""recolib's own: a name from a file is looked up here, and never imported."""


def load(
    file: str | os.PathLike[str],
    data_info: DataInfo | None = None,
    *,
    device: str | None = None,
    mapped: bool = False,
) -> Recommender:
    """Load a model of one of recolib's algorithms.

    Parameters
    ----------
    file
        The file, as ``save`` returned it, with or without its ending.
    data_info, device
        As in ``Recommender.load``.
    mapped
        Whether weights stay in the file until they are looked at. For jobs that need the weights of some users of very
        many, and for processes of one machine, which then share what they look at. While the model is there, the file
        must not be written over in place; ``save`` does not do so.

    Returns
    -------
    Recommender
        The model, as it was when it was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of a newer format or no model's, or the algorithm is none of recolib's: load that with its
        class's own ``load``.

    Examples
    --------
    >>> import tempfile
    >>> import recolib
    >>> from recolib.datasets import make_movies
    >>> data, info = recolib.DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = recolib.FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     same = recolib.load(model.save(folder, "movies"))
    >>> user, item = info.id2user[1], info.id2item[1]
    >>> same.predict(user, item) == model.predict(user, item)
    True
    """
    check_bool("mapped", mapped)
    saved = SavedModel.read(_with_suffix(local_path(file, "file")), mapped)
    algorithm = ALGORITHMS.get(saved.algorithm)  # those of others have a dot in their names
    if algorithm is None:
        raise ValueError(f"{file} holds a {saved.algorithm}, none of {[*ALGORITHMS]}: load it with that class's load")
    return algorithm.from_saved(saved, data_info, device)


def _with_suffix(file: Path) -> Path:
    whole = file.with_name(f"{file.name}{SUFFIX}") if file.name else file
    return whole if whole.is_file() and not file.is_file() else file
