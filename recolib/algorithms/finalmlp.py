"""FinalMLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recolib.nn import Component, FieldSpec, GatedStreams, TwoStreams
from recolib.recommender import Recommender
from recolib.settings import OPEN, Flag, HeadCount, OptionalShare, OptionalWidths, Widths


class FinalMLP(Recommender):
    r"""Two perceptrons over the same vectors, whose last hidden layers are joined by a bilinear form.

    .. math:: y = w_0 + w_1 \cdot o_1 + w_2 \cdot o_2 + \sum_h o_{1h}^\top W_h\, o_{2h}, \quad
              o_s = \mathrm{MLP}_s(g_s \circ [e_1; \ldots; e_F]), \quad e_i = v_i x_i

    Each hidden layer is Linear, batch norm, ReLU, dropout; o is the last one's output, and a head h has a slice of it.
    With ``gate_units`` the first stream's gate is g = 2·σ(MLP(the user's vectors)), and the second's likewise that of
    the item's vectors; else g is 1. There is no first-order term.

    Parameters
    ----------
    hidden_units
        Widths of the hidden layers of the first stream.
    second_hidden_units
        Widths of the hidden layers of the second stream.
    num_heads
        The number of heads of the bilinear form, a divisor of both last widths.
    gate_units
        Widths of the hidden layers of the gates' perceptrons; by default there are no gates.
    use_bn
        Batch norm in the hidden layers of the streams.
    dropout_rate
        Dropout in the hidden layers of the streams.

    See Also
    --------
    recolib.settings.Settings : the settings that all algorithms share.
    recolib.recommender.Recommender : what a model does.

    References
    ----------
    Mao et al., *FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction*, AAAI 2023. In the authors' code the
    gates have vectors of their own; here they share those of the streams.

    Examples
    --------
    >>> from recolib.algorithms import FinalMLP
    >>> from recolib.data import DatasetPure
    >>> from recolib.datasets import make_movies
    >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
    >>> model = FinalMLP("ranking", info, n_epochs=2, num_heads=2, gate_units=(16,))
    >>> model = model.fit(data, neg_sampling=True, verbose=0)
    >>> 0 < model.predict(user=info.id2user[1], item=info.popular_items[0]) < 1
    True
    """

    hidden_units: Widths = (128, 64)
    second_hidden_units: Widths = (128, 64)
    num_heads: HeadCount = 1
    gate_units: OptionalWidths = ()
    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        for name in ("hidden_units", "second_hidden_units"):
            widths = getattr(self, name)
            if widths[-1] % self.num_heads:
                raise ValueError(f"num_heads={self.num_heads} must divide the last of {name}={widths}")

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The two streams, with gates or without."""
        widths, more = (self.hidden_units, self.second_hidden_units), (self.use_bn, self.dropout_rate or 0.0)
        if not self.gate_units:
            return [TwoStreams(spec, *widths, self.num_heads, *more)]
        return [GatedStreams(spec, *widths, self.gate_units, self.num_heads, *more)]
