"""DeepFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from recolib.nn import Component, Deep, FieldSpec, Linear, Pairwise
from recolib.recommender import Recommender
from recolib.settings import OPEN, Flag, OptionalShare, Share, Widths, one_of


class DeepFM(Recommender):
    r"""A factorization machine beside a multilayer perceptron, on the same vectors.

    .. math:: y = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle e_i, e_j \rangle + \mathrm{MLP}([e_1; \ldots; e_F]),
              \quad e_i = v_i x_i

    Each hidden layer is Linear, batch norm, ReLU, dropout; a last Linear gives one number.

    Parameters
    ----------
    use_bn
        Batch norm in the hidden layers.
    dropout_rate
        Dropout in the hidden layers; the best in the paper are 0.1 to 0.5. By default 0.8 against the whole catalogue,
        where the layers would learn the ids by heart, and else none.
    hidden_units
        Widths of the hidden layers. By default ``(64,)`` against the whole catalogue, and else ``(128, 64, 32)``.
    pair_dropout
        Dropout on the pair vector Σ e_i ∘ e_j before it is summed.
    combine
        ``"sum"`` adds the parts, as the paper does. ``"concat"`` is LibRecommender's head: a trained weight for
        each field's first-order term, for each element of the pair vector, and for each unit of a last hidden layer
        that has no activation.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Guo et al., *DeepFM: A Factorization-Machine based Neural Network for CTR Prediction*, IJCAI 2017.

    Examples
    --------
    >>> from recolib.algorithms import DeepFM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = DeepFM("ranking", info, n_epochs=2, hidden_units=(16, 16)).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = OPEN
    hidden_units: Widths = OPEN
    pair_dropout: Share = 0.0
    combine: Annotated[str, one_of("sum", "concat")] = "sum"

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, pairs, and the perceptron."""
        weighted = self.combine == "concat"
        return [
            Linear(spec, per_field=weighted),
            Pairwise(spec, dropout=self.pair_dropout, weighted=weighted),
            Deep(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0, plain_last=weighted),
        ]
