"""ALS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from recolib.checks import check_bool, readable
from recolib.nn import Component, FieldSpec, Linear, Pairwise
from recolib.recommender import Recommender
from recolib.settings import ALL_ITEMS, Check, Positive, one_of
from recolib.training.catalogue_losses import IMPLICIT


def _no_field(name: str, value: bool | str) -> bool | str:
    if value:
        raise ValueError(
            f"{name}={value!r} is one more field of the users, and ALS solves for the vectors of ids alone: leave "
            f"{name} out, or use FM(loss_type='implicit', {name}={value!r})"
        )
    check_bool(name, value)
    return value


class ALS(Recommender):
    r"""Matrix factorization by alternating least squares: the vectors of ids, in seconds.

    .. math:: s_{ui} = \langle p_u, q_i \rangle, \quad \min_{p, q} \sum_{(u, i) \in S} (1 - s_{ui})^2
              + w \sum_{u, i} s_{ui}^2 + \lambda \Big(\sum_u \|p_u\|^2 + \sum_i \|q_i\|^2\Big)

    An epoch solves for all users' vectors, and then for all items', by three steps of conjugate gradients. It costs a
    few passes over the pairs that were observed, whatever the size of the catalogue. Features and context have no part
    in it, and scores are no probabilities: σ of them is what ``predict`` gives.

    For ratings the same is solved of what the mean and the biases of users and items leave of the labels, of the pairs
    in S alone. A model keeps no ratings, so that ``update`` solves for known pairs by what it predicts of them, which
    draws vectors towards 0 each time: fit anew instead.

    Parameters
    ----------
    unobserved_weight
        w: how much any pair counts, which is to be 0, beside one that was observed, which is to be 1. It is 1/α of
        LibRecommender and of ``implicit``.
    prior
        λ: LibRecommender's ``reg``, and the ``regularization`` of ``implicit`` over its ``alpha``.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.
    recolib.algorithms.FM : with ``loss_type="implicit"`` it has features and context, too, and is stepped.

    References
    ----------
    Hu et al., *Collaborative Filtering for Implicit Feedback Datasets*, ICDM 2008; steps as in Takács et al.,
    *Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering*, RecSys 2011; how much
    its two settings matter as in Rendle et al., *Revisiting the Performance of iALS on Item Recommendation
    Benchmarks*, RecSys 2022.

    Examples
    --------
    >>> from recolib.algorithms import ALS
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = ALS("ranking", info, n_epochs=5).fit(data, neg_sampling=True, verbose=0)
    >>> user = info.id2user[1]
    >>> len(model.recommend_user(user, n_rec=5)[user])
    5
    """

    alternates = True
    num_neg: Annotated[int | str, one_of(ALL_ITEMS)] = ALL_ITEMS
    unobserved_weight: Positive = 0.1
    optimizer: Annotated[str, one_of("sgd")] = "sgd"  # which keeps nothing of a weight: none is stepped
    history: Annotated[bool | str, Check(_no_field)] = False

    def check(self) -> None:
        """Check the settings; squared error of all pairs is the only loss that is solved for."""
        super().check()
        if self.task == "ranking" and self.loss_type not in (None, IMPLICIT):
            raise ValueError(
                f"loss_type={readable(self.loss_type)} cannot be solved for: leave it out, or use "
                f"FM(loss_type={readable(self.loss_type)})"
            )

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The inner product of users and items; for ratings their biases, too."""
        return [Linear(spec), Pairwise(spec)] if self.task == "rating" else [Pairwise(spec)]
