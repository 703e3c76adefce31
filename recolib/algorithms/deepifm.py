"""DeepIFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from recolib.checks import check_number
from recolib.nn import Component, Deep, FieldSpec, InteractionAware, Linear
from recolib.recommender import Recommender
from recolib.settings import OPEN, Check, Count, Flag, NotNegative, OptionalShare, Positive, Share, Size, Widths


def _share_above_0(name: str, value: float) -> float:
    check_number(name, value, 0, 1 + 1e-12, open_low=True)
    return value


class DeepIFM(Recommender):
    r"""Interaction-aware factorization machine beside a multilayer perceptron, on the same vectors.

    .. math:: y = w_0 + \sum_i w_i x_i + \sum_{i<j} T_{ij} \langle F_{f_i f_j}, e_i \circ e_j \rangle
              + \mathrm{MLP}([e_1; \ldots; e_F])

    T and F are those of IFM, with tanh in the attention instead of relu, and without pairs within a field.

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
    pair_share
        The share of pairs that a training batch uses: drawn in proportion to ‖F‖² without replacement, once per batch.
        1 uses all, as predictions do.
    warmup_steps
        The number of batches that use all pairs before any is left out.
    use_bn
        Batch norm in the hidden layers.
    dropout_rate
        Dropout in the hidden layers.
    hidden_units
        Widths of the hidden layers.

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
    >>> from recolib.algorithms import DeepIFM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = DeepIFM("ranking", info, n_epochs=2, hidden_units=(16,)).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    attention_size: Size = 16
    attention_reg: NotNegative = 0.0
    field_factors: Size = 6
    field_reg: NotNegative = 0.0
    temperature: Positive = 10.0
    pair_dropout: Share = 0.0
    pair_share: Annotated[float, Check(_share_above_0)] = 1.0
    warmup_steps: Count = 50_000
    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None
    hidden_units: Widths = (100, 75, 50)

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, interaction-aware pairs across fields, and the perceptron."""
        pairs = InteractionAware(
            spec,
            self.attention_size,
            self.field_factors,
            self.temperature,
            self.pair_dropout,
            activation="tanh",
            within_fields=False,
            pair_share=self.pair_share,
            warmup_steps=self.warmup_steps,
            attention_reg=self.attention_reg,
            field_reg=self.field_reg,
        )
        return [Linear(spec), pairs, Deep(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0)]
