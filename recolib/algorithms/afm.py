"""AFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Attention, Component, FieldSpec, Linear
from recolib.recommender import Recommender
from recolib.settings import NotNegative, Share, Size


class AFM(Recommender):
    r"""Attentional factorization machine: each pair has a weight, which attention computes from its product.

    .. math:: y = w_0 + \sum_i w_i x_i + p \cdot \sum_{i<j} T_{ij} \, e_i \circ e_j, \quad
              T = \mathrm{softmax}_{i<j}\bigl(q \cdot \mathrm{relu}(W (e_i \circ e_j) + b)\bigr), \quad e_i = v_i x_i

    The softmax runs over the pairs of a row; in the authors' code it runs over one number since 2018, so that all
    weights are 1.

    Parameters
    ----------
    attention_size
        The number of rows of W.
    attention_reg
        Squared-norm penalty on W.
    pair_dropout
        Dropout on the pooled vector Σ T e ∘ e; the best in the paper are 0.2 and 0.5.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Xiao et al., *Attentional Factorization Machines*, IJCAI 2017.

    Examples
    --------
    >>> from recolib.algorithms import AFM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = AFM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    attention_size: Size = 8
    attention_reg: NotNegative = 0.0
    pair_dropout: Share = 0.0

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and pairs by attention."""
        return [Linear(spec), Attention(spec, self.attention_size, self.pair_dropout, self.attention_reg)]
