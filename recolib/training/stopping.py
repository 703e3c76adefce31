"""EarlyStopping: when a fit ends early, and which of its epochs was the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recolib.checks import check_bool, check_integer, check_number, nearest
from recolib.evaluation.metrics import ALL, TRAIN_LOSS, Metric, less_is_better


@dataclass(frozen=True)
class EarlyStopping:
    """Stop a fit when a metric gets no better, for ``fit(..., early_stopping=EarlyStopping("ndcg"))``.

    Parameters
    ----------
    metric
        The name of one of the ``metrics`` that the fit measures on ``eval_data``, or ``"train_loss"``.
    patience
        The fit ends after so many epochs in a row without improvement.
    min_delta
        An epoch is an improvement if its metric is better than the best before by more than this. NaN never is.
    restore_best
        Whether the model goes back to its best epoch at the end: weights, optimiser and epoch number, also if the fit
        was not stopped early. This takes memory for one copy of its state. False keeps the last epoch.
    lower_is_better
        Whether less is better. By default the metric says it: of ``loss``, ``log_loss``, ``rmse``, ``mae`` and
        ``train_loss`` less, of recolib's others more, of a ``Metric`` what its ``lower_is_better`` is, of a plain
        function more.

    Raises
    ------
    ValueError
        If ``patience`` or ``min_delta`` is too small.
    TypeError
        If an argument is of another type.

    Examples
    --------
    >>> from recolib.algorithms import FM
    >>> from recolib.data import DatasetPure, random_split
    >>> from recolib.datasets import make_movies
    >>> train, test = random_split(make_movies(n_users=50, n_items=40, n_ratings=800), test_size=0.2)
    >>> data, info = DatasetPure.build_trainset(train)
    >>> model = FM("rating", info, n_epochs=30, lr=0.1)
    >>> model = model.fit(data, False, 0, eval_data=test, early_stopping=EarlyStopping("loss", patience=1))
    >>> len(model.history_) < 30
    True

    References
    ----------
    Prechelt, *Early Stopping - But When?*, in *Neural Networks: Tricks of the Trade*, 1998.
    """

    metric: str
    patience: int = 2
    min_delta: float = 0.0
    restore_best: bool = True
    lower_is_better: bool | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.metric, str):
            raise TypeError(f"metric must be the name of one, got {self.metric!r}")
        check_integer("patience", self.patience, 1)
        check_number("min_delta", self.min_delta, 0)
        check_bool("restore_best", self.restore_best)
        if self.lower_is_better is not None:
            check_bool("lower_is_better", self.lower_is_better)

    @property
    def column(self) -> str:
        """What the metric is called in ``history_``."""
        return TRAIN_LOSS if self.metric == TRAIN_LOSS else f"eval_{self.metric}"

    def best(self, values: Sequence[float]) -> int | None:
        """The place of the best of some epochs' values: the last one that was an improvement; None if none was."""
        lower = less_is_better(self.column) if self.lower_is_better is None else self.lower_is_better
        sign = -1 if lower else 1
        at, bar = None, float("-inf")
        for place, value in enumerate(values):
            if sign * value > bar:
                at, bar = place, sign * value + self.min_delta
        return at

    def stops(self, values: Sequence[float]) -> bool:
        """Whether enough epochs passed since the best one."""
        at = self.best(values)
        return len(values) - (0 if at is None else at + 1) >= self.patience


def check_stopping(stopping: object, measured: Sequence[Metric]) -> EarlyStopping | None:
    """What stops a fit, with the direction of its metric: nothing, or an ``EarlyStopping`` by what is measured.

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If its metric is neither the training loss nor measured.
    """
    if stopping is None:
        return None
    if not isinstance(stopping, EarlyStopping):
        raise TypeError(f"early_stopping must be an EarlyStopping, got {stopping!r}")
    if stopping.metric == TRAIN_LOSS:
        return stopping
    by_name = {metric.name: metric for metric in measured}
    if stopping.metric not in by_name:
        near = nearest(stopping.metric, [TRAIN_LOSS, *by_name, *ALL])
        at_length = [name for name in by_name if name.partition("@")[0] == stopping.metric]
        if at_length:
            remedy = f"did you mean {at_length[0]!r}?"
        elif measured and stopping.metric not in ALL and near is not None:
            remedy = f"did you mean {near!r}?"
        else:
            remedy = f"add it to metrics={[*by_name]}" if measured else "pass eval_data to measure it on"
        raise ValueError(f"early_stopping goes by {stopping.metric!r}, which is not measured: {remedy}")
    if stopping.lower_is_better is not None:
        return stopping
    return replace(stopping, lower_is_better=by_name[stopping.metric].lower_is_better)
