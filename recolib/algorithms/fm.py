"""FM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, Linear, Pairwise
from recolib.recommender import Recommender
from recolib.settings import Flag, OptionalShare


class FM(Recommender):
    r"""Factorization machine.

    .. math:: y = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j

    LibRecommender's FM also has a dense layer with an activation on the pair vector; this one does not.

    Parameters
    ----------
    use_bn
        Batch norm on the pair vector Σ (v_i ∘ v_j) x_i x_j before it is summed.
    dropout_rate
        Dropout on the pair vector, after batch norm.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Rendle, *Factorization Machines*, ICDM 2010; batch norm and dropout as in the code of He and Chua,
    *Neural Factorization Machines for Sparse Predictive Analytics*, SIGIR 2017.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> user = info.id2user[1]
    >>> len(model.recommend_user(user, n_rec=5)[user])
    5
    """

    use_bn: Flag = False
    dropout_rate: OptionalShare = None

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights and pairs."""
        return [Linear(spec), Pairwise(spec, self.use_bn, self.dropout_rate or 0.0)]
