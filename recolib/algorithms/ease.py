"""EASE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec
from recolib.recommender import Recommender
from recolib.settings import Flag, Length, Size


class EASE(Recommender):
    r"""A linear autoencoder of what users consumed: the items of a user say what else they like.

    .. math:: s_{ui} = \sum_{j \in \mathcal{I}_u} x_{uj} B_{ji}, \quad B_{ij} = -\frac{P_{ij}}{P_{jj}}, \quad
              B_{jj} = 0, \quad P = (X^T X + \lambda I)^{-1}

    B is solved for, in seconds, for up to 50,000 items; there are no epochs and no features. New users are answered by
    the items that a request brings as ``history``. All items count alike, x = 1; with ``history="recent"``, for what
    comes next, the item before k others counts x = 1 / (1 + k). Scores put items in order and are no probabilities: σ
    of them is what ``predict`` gives.

    Parameters
    ----------
    history
        Only ``"recent"`` says something: what a user consumed is all that there is.
    item_to_item_l2
        λ. Chosen on a part of the data that is held out.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.
    recolib.algorithms.FM : with ``item_to_item=True`` it has this as a term.

    References
    ----------
    Steck, *Embarrassingly Shallow Autoencoders for Sparse Data*, WWW 2019.

    Examples
    --------
    >>> from recolib.algorithms import EASE
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = EASE("ranking", info).fit(data, neg_sampling=True, verbose=0)
    >>> user = info.id2user[1]
    >>> len(model.recommend_user(user, n_rec=5)[user])
    5
    """

    has_epochs = False
    item_to_item: Flag = True
    embed_size: Size = 1
    max_history: Length = 10_000

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """Nothing but the weights from item to item."""
        return []
