"""YouTubeRetrieval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, Linear, Towers
from recolib.recommender import Recommender
from recolib.settings import FlagOrRecent, OptionalShare, Widths


class YouTubeRetrieval(Recommender):
    r"""A perceptron over what a user consumed and their features, and the inner products with the items' vectors.

    .. math:: y = w_0 + w_i + \langle \mathrm{MLP}([h; e_1; \ldots]), v_i \rangle, \quad
              h = \frac{1}{\sqrt{|\mathcal{I}_u|}} \sum_{j \in \mathcal{I}_u} v_j

    The user's id has no part in it: a new user is answered by the items that a request brings as ``history``, as well
    as a known one.

    Parameters
    ----------
    hidden_units
        Widths of the hidden layers.
    dropout_rate
        Dropout in the hidden layers.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Covington et al., *Deep Neural Networks for YouTube Recommendations*, RecSys 2016.

    Examples
    --------
    >>> from recolib.algorithms import YouTubeRetrieval
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = YouTubeRetrieval("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> len(model.recommend_user("someone new", 3, history=info.popular_items[:2])["someone new"])
    3
    """

    history: FlagOrRecent = True
    hidden_units: Widths = (128,)
    dropout_rate: OptionalShare = None

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and the user's tower."""
        towers = Towers(spec, self.hidden_units, self.dropout_rate or 0.0, item_tower=False, with_user_id=False)
        return [Linear(spec), towers]
