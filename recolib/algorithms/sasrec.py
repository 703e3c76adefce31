"""SASRec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from recolib.checks import check_bool
from recolib.nn import Component, FieldSpec, SequenceEncoder
from recolib.recommender import Recommender
from recolib.settings import Check, HeadCount, LayerCount, Length, Share


def _no_field(name: str, value: bool | str) -> bool | str:
    if value:
        raise ValueError(
            f"{name}={value!r} pools what users consumed, and SASRec reads it as a sequence: leave {name} out; every "
            "other algorithm takes it, such as EASE and FM"
        )
    check_bool(name, value)
    return value


class SASRec(Recommender):
    r"""Self-attention over what a user consumed, in order: what comes next.

    .. math:: s_{ui} = \langle h(i_1, \ldots, i_n), v_i \rangle

    h is a causal transformer; see ``recolib.nn.SequenceEncoder``. v_i is the sum of the vectors of the item and its
    features. Neither the user's id nor their features count: a new user is answered by the items that a request brings
    as ``history``. LibRecommender's ``Transformer`` has the user's features beside the sequence: that is
    ``DeepFM(history=True)``.

    Training has each event of a user against the whole catalogue, or against the items that ``sampler="shared"`` draws
    for a batch, in one pass through the user's sequence.

    Parameters
    ----------
    n_layers, n_heads
        Of attention.
    dropout_rate
        In the transformer.
    max_history
        The most items that are seen, the latest.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Kang and McAuley, *Self-Attentive Sequential Recommendation*, ICDM 2018; the loss over the catalogue as in
    Klenitskiy and Vasilev, *Turning Dross Into Gold Loss: is BERT4Rec really better than SASRec?*, RecSys 2023.

    Examples
    --------
    >>> from recolib.algorithms import SASRec
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = SASRec("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
    >>> user = info.id2user[1]
    >>> len(model.recommend_user(user, n_rec=5)[user])
    5
    """

    has_sequences = True
    history: Annotated[bool | str, Check(_no_field)] = False
    max_history: Length = 100
    n_layers: LayerCount = 2
    n_heads: HeadCount = 1
    dropout_rate: Share = 0.2

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The transformer."""
        return [SequenceEncoder(spec.dim, self.max_history, self.n_layers, self.n_heads, self.dropout_rate)]
