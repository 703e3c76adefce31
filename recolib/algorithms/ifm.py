"""IFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, InteractionAware, Linear
from recolib.recommender import Recommender
from recolib.settings import NotNegative, Positive, Share, Size


class IFM(Recommender):
    r"""Interaction-aware factorization machine: a pair's features decide its weight, its fields its direction.

    .. math:: y = w_0 + \sum_i w_i x_i + \sum_{i<j} T_{ij} \langle F_{f_i f_j}, e_i \circ e_j \rangle, \quad
              T = \mathrm{softmax}_{i<j}\bigl(q \cdot \mathrm{relu}(W (e_i \circ e_j) + b) / \tau\bigr), \quad
              F_{fg} = (u_f \circ u_g) D, \quad e_i = v_i x_i

    A field is a column.

    Parameters
    ----------
    attention_size
        The number of rows of W.
    attention_reg
        Squared-norm penalty on W.
    field_factors
        The size of the fields' vectors u.
    field_reg
        Squared-norm penalty on u and D.
    temperature
        τ: the higher, the more equal the weights.
    pair_dropout
        Dropout on the elements of e_i ∘ e_j in the sum; attention sees all of them.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Hong et al., *Interaction-aware Factorization Machines for Recommender Systems*, AAAI 2019. The model that other
    libraries call IFM is another one: the input-aware factorization machine of IJCAI 2019.

    Examples
    --------
    >>> from recolib.algorithms import IFM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = IFM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    attention_size: Size = 8
    attention_reg: NotNegative = 0.0
    field_factors: Size = 16
    field_reg: NotNegative = 0.0
    temperature: Positive = 10.0
    pair_dropout: Share = 0.0

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and interaction-aware pairs."""
        pairs = InteractionAware(
            spec,
            self.attention_size,
            self.field_factors,
            self.temperature,
            self.pair_dropout,
            attention_reg=self.attention_reg,
            field_reg=self.field_reg,
        )
        return [Linear(spec), pairs]
