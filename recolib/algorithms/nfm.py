"""NFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, Linear, Pooled
from recolib.recommender import Recommender
from recolib.settings import OPEN, Flag, OptionalShare, Share, Widths


class NFM(Recommender):
    r"""Neural factorization machine: a multilayer perceptron over the sum of all pairs' products.

    .. math:: y = w_0 + \sum_i w_i x_i + \mathrm{MLP}\Bigl(\sum_{i<j} e_i \circ e_j\Bigr), \quad e_i = v_i x_i

    Batch norm and dropout apply to the bi-interaction vector Σ e_i ∘ e_j. Each hidden layer after it is Linear, batch
    norm, ReLU, dropout; a last Linear gives one number.

    Parameters
    ----------
    use_bn
        Batch norm on the bi-interaction vector and in the hidden layers.
    dropout_rate
        Dropout in the hidden layers.
    hidden_units
        Widths of the hidden layers; the paper found one layer, as wide as the vectors, to be best.
    pair_dropout
        Dropout on the bi-interaction vector; the paper used 0.5.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    He and Chua, *Neural Factorization Machines for Sparse Predictive Analytics*, SIGIR 2017.

    Examples
    --------
    >>> from recolib.algorithms import NFM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = NFM("ranking", info, n_epochs=2, hidden_units=(16,)).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None
    hidden_units: Widths = (64,)
    pair_dropout: Share = 0.0

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and the perceptron over the pooled pairs."""
        return [
            Linear(spec),
            Pooled(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0, self.pair_dropout),
        ]
