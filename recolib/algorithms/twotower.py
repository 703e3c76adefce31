"""TwoTower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, Towers
from recolib.recommender import Recommender
from recolib.settings import OptionalShare, Positive, Widths


class TwoTower(Recommender):
    r"""Two towers: a perceptron over all fields of the user's side, and one over those of the item's.

    .. math:: y = w_0 + \frac{\cos(\mathrm{MLP}_u([e_1; \ldots]), \mathrm{MLP}_i([e_1; \ldots]))}{\tau}

    Scores are inner products, so that an index finds the best items of a large catalogue; see ``recolib.ann``. The loss
    is the softmax over the catalogue or over the items that ``sampler="shared"`` draws for a batch, each counting for
    as many as its chance to be drawn says.

    Parameters
    ----------
    hidden_units
        Widths of the hidden layers of each tower.
    temperature
        τ: the smaller, the more the best items count beside the others.
    dropout_rate
        Dropout in the hidden layers.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Yi et al., *Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations*, RecSys 2019.

    Examples
    --------
    >>> from recolib.algorithms import TwoTower
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = TwoTower("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> model.item_vectors().shape[0]
    40
    """

    hidden_units: Widths = (128,)
    temperature: Positive = 0.1
    dropout_rate: OptionalShare = None

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The towers."""
        return [Towers(spec, self.hidden_units, self.dropout_rate or 0.0, self.temperature)]
