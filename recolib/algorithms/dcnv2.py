"""DCNv2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, CrossLayers, Deep, FieldSpec
from recolib.recommender import Recommender
from recolib.settings import OPEN, Flag, LayerCount, OptionalShare, OptionalSize, Widths


class DCNv2(Recommender):
    r"""Deep & cross network, version 2: cross layers beside a multilayer perceptron, on the same vectors.

    .. math:: y = w_0 + w \cdot x_L + \mathrm{MLP}(x_0), \quad
              x_{l+1} = x_0 \circ (W_l x_l + b_l) + x_l, \quad x_0 = [e_1; \ldots; e_F], \quad e_i = v_i x_i

    This is the paper's parallel structure. Each hidden layer of the perceptron is Linear, batch norm, ReLU, dropout; a
    last Linear gives one number.

    Parameters
    ----------
    cross_layers
        The number of cross layers L; the score has products of up to L + 1 features.
    cross_rank
        Each W is U Vᵀ of this rank, which has fewer weights if it is below F·K/2; None is a whole W.
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
    Wang et al., *DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank
    Systems*, WWW 2021.

    Examples
    --------
    >>> from recolib.algorithms import DCNv2
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = DCNv2("ranking", info, n_epochs=2, hidden_units=(16, 16)).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    cross_layers: LayerCount = 3
    cross_rank: OptionalSize = None
    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None
    hidden_units: Widths = (128, 64, 32)

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The cross layers, and the perceptron."""
        return [
            CrossLayers(spec, self.cross_layers, self.cross_rank),
            Deep(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0),
        ]
