"""AutoInt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

from recolib.checks import as_widths
from recolib.nn import Component, Deep, FieldSpec, SelfAttention
from recolib.recommender import Recommender
from recolib.settings import OPEN, Check, Flag, HeadCount, OptionalShare, OptionalWidths

HEADS = 8, 8, 8
"""The sizes of heads where none are given."""


def _sizes_of_heads(name: str, value: object) -> tuple[int, ...]:
    return as_widths(name, HEADS if value is None else value)


class AutoInt(Recommender):
    r"""Layers of multi-head self-attention among the fields; with ``hidden_units``, AutoInt+.

    .. math:: y = w_0 + w \cdot [e_1^{(L)}; \ldots; e_F^{(L)}] \;(+\; \mathrm{MLP}([e_1; \ldots; e_F])), \quad
              e_m^{(l+1)} = \mathrm{relu}\Bigl(\Bigl[\sum_k T_{mk} V_h e_k^{(l)}\Bigr]_{h} + R\, e_m^{(l)}\Bigr), \quad
              T_{mk} = \mathrm{softmax}_k \langle Q_h e_m^{(l)}, K_h e_k^{(l)} \rangle, \quad e^{(0)} = v_i x_i

    Each layer has its own Q, K, V for each head h, and its own R. There is no first-order term.

    Parameters
    ----------
    att_embed_size
        The size of a head in each attention layer; an integer is one layer, and None is (8, 8, 8).
    num_heads
        The number of heads of each layer.
    use_residual
        Whether layers have R.
    hidden_units
        Widths of the hidden layers of a perceptron beside the attention; by default there is none.
    use_bn
        Batch norm in the hidden layers.
    dropout_rate
        Dropout in the hidden layers.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Song et al., *AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks*, CIKM 2019.

    Examples
    --------
    >>> from recolib.algorithms import AutoInt
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = AutoInt("ranking", info, n_epochs=2, att_embed_size=(8, 8)).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    att_embed_size: Annotated[Sequence[int] | int | None, Check(_sizes_of_heads, is_size=True)] = HEADS
    num_heads: HeadCount = 2
    use_residual: Flag = True
    hidden_units: OptionalWidths = ()
    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """Self-attention, and the perceptron if there is one."""
        attention = SelfAttention(spec, cast("Sequence[int]", self.att_embed_size), self.num_heads, self.use_residual)
        if not self.hidden_units:
            return [attention]
        return [attention, Deep(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0)]
