"""WideDeep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from recolib.checks import check_number
from recolib.nn import Component, Deep, FieldSpec, Linear
from recolib.recommender import Recommender
from recolib.settings import OPEN, Check, Flag, OptionalShare, Widths


def _learning_rates(name: str, value: object) -> float | dict[str, float]:
    """A number, or one for the wide and one for the deep part."""
    if not isinstance(value, Mapping):
        check_number(name, value, 0, open_low=True)
        return cast("float", value)
    rates = cast("Mapping[object, float]", value)
    if set(rates) != {"wide", "deep"}:
        raise ValueError(f"{name} must be a number, or have 'wide' and 'deep' and no other part, got {dict(rates)!r}")
    for part in ("wide", "deep"):
        check_number(f"{name}[{part!r}]", rates[part], 0, open_low=True)
    return {part: float(rates[part]) for part in ("wide", "deep")}


LearningRates = Annotated[float | Mapping[str, float], Check(_learning_rates)]
"""A learning rate, or one for the linear weights and one for all others: ``{"wide": 0.01, "deep": 1e-4}``."""


class WideDeep(Recommender):
    r"""First-order weights beside a multilayer perceptron.

    .. math:: y = w_0 + \sum_i w_i x_i + \mathrm{MLP}([e_1; \ldots; e_F]), \quad e_i = v_i x_i

    Each hidden layer is Linear, batch norm, ReLU, dropout; a last Linear gives one number. The paper's wide part also
    has products of columns chosen by hand; here, add such a product as a column of your frame.

    Parameters
    ----------
    lr
        The learning rate, or one for the linear weights and w0 and one for the vectors and the perceptron, such as
        ``{"wide": 0.01, "deep": 1e-4}``. ``lr_decay`` and ``lr_schedule`` multiply both. Both parts have the same
        optimiser; the paper trains the wide one by FTRL.
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

    lr: LearningRates = OPEN  # pyright: ignore[reportIncompatibleVariableOverride]
    use_bn: Flag = OPEN
    dropout_rate: OptionalShare = None
    hidden_units: Widths = (128, 64, 32)

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """First-order weights, and the perceptron."""
        return [Linear(spec), Deep(spec, self.hidden_units, self.use_bn, self.dropout_rate or 0.0)]
