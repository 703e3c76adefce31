"""WideDeep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, Deep, FieldSpec, Linear
from recolib.recommender import Recommender
from recolib.settings import OPEN, Flag, OptionalShare, Widths


class WideDeep(Recommender):
    r"""First-order weights beside a multilayer perceptron.

    .. math:: y = w_0 + \sum_i w_i x_i + \mathrm{MLP}([e_1; \ldots; e_F]), \quad e_i = v_i x_i

    Each hidden layer is Linear, batch norm, ReLU, dropout; a last Linear gives one number. The paper's wide part also
    has products of columns chosen by hand; here, add such a product as a column of your frame.

    Parameters
    ----------
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
    Cheng et al., *Wide & Deep Learning for Recommender Systems*, DLRS 2016.

    Examples
    --------
    >>> from recolib.algorithms import WideDeep
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = WideDeep("ranking", info, n_epochs=2, hidden_units=(16, 16)).fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None
    hidden_units: Widths = (128, 64, 32)

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and the perceptron."""
        return [Linear(spec), Deep(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0)]
