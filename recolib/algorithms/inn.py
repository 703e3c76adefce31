"""INN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, InteractionLayers, Linear
from recolib.recommender import Recommender
from recolib.settings import NotNegative, Positive, Share, Size, Widths


class INN(Recommender):
    r"""Interaction-aware neural network: a perceptron over IFM's pairs instead of their sum.

    .. math:: y = w_0 + \sum_i w_i x_i + \mathrm{MLP}\bigl([T_{ij} \, F_{f_i f_j} \circ e_i \circ e_j]_{i<j}\bigr)

    T and F are those of IFM.

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
    hidden_units
        Widths of the hidden layers; the authors' code has one of 5.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Hong et al., *Interaction-aware Factorization Machines for Recommender Systems*, AAAI 2019.

    Examples
    --------
    >>> from recolib.algorithms import INN
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = INN("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    attention_size: Size = 8
    attention_reg: NotNegative = 0.0
    field_factors: Size = 16
    field_reg: NotNegative = 0.0
    temperature: Positive = 10.0
    pair_dropout: Share = 0.0
    hidden_units: Widths = (5,)

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and a perceptron over interaction-aware pairs."""
        pairs = InteractionLayers(
            spec,
            self.attention_size,
            self.field_factors,
            self.hidden_units,
            self.temperature,
            self.pair_dropout,
            self.attention_reg,
            self.field_reg,
        )
        return [Linear(spec), pairs]
