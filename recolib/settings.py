"""Settings: what every algorithm can be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, cast, dataclass_transform, get_args

from recolib.checks import (
    BEYOND_SEEDS,
    MAX_LAYERS,
    as_widths,
    check_bool,
    check_choice,
    check_device,
    check_integer,
    check_number,
)
from recolib.data.consumed import Consumed
from recolib.data.info import DataInfo
from recolib.exceptions import warn
from recolib.nn.embedding import Combiner
from recolib.nn.network import Precision
from recolib.sampling import SAMPLERS
from recolib.training.losses import RANKING_LOSSES
from recolib.training.optimizers import OPTIMIZERS

Check = Callable[[str, Any], object]
TASKS = ("rating", "ranking")

MAX_HEADS = 64


def _share(name: str, value: float | None) -> float | None:
    check_number(name, value or 0.0, 0, 1)
    return value


def _size(name: str, value: int) -> int:
    check_integer(name, value, 1)
    return int(value)


def _size_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else _size(name, value)


def _layers(name: str, value: int) -> int:
    check_integer(name, value, 1, MAX_LAYERS + 1)
    return int(value)


def _heads(name: str, value: int) -> int:
    check_integer(name, value, 1, MAX_HEADS + 1)
    return int(value)


def _flag(name: str, value: bool) -> bool:
    check_bool(name, value)
    return value


def _positive(name: str, value: float) -> float:
    check_number(name, value, 0, open_low=True)
    return value


def _not_negative(name: str, value: float) -> float:
    check_number(name, value, 0)
    return value


OF_ALGORITHMS: dict[str, Check] = {
    "att_embed_size": as_widths,
    "attention_reg": _not_negative,
    "attention_size": _size,
    "cross_layers": _layers,
    "cross_rank": _size_or_none,
    "dropout_rate": _share,
    "field_factors": _size,
    "field_reg": _not_negative,
    "gate_units": as_widths,
    "hidden_units": as_widths,
    "num_heads": _heads,
    "pair_dropout": _share,
    "second_hidden_units": as_widths,
    "temperature": _positive,
    "use_bn": _flag,
    "use_residual": _flag,
}
"""How settings of algorithms are checked: a name means the same in all of them. Of those that are () by default, () is
fine, too: no layers."""
ARE_SIZES = _size, _size_or_none, as_widths
SIZES = ["embed_size", *(name for name, check in OF_ALGORITHMS.items() if check in ARE_SIZES)]
"""Settings that are sizes of weights."""


@dataclass_transform(kw_only_default=True)
@dataclass(eq=False, repr=False)
class Settings:
    """The settings that all algorithms share.

    Parameters
    ----------
    task
        ``"rating"``: labels are numbers, predictions are clipped to their range. ``"ranking"``: labels say
        whether something happened, predictions are probabilities.
    data_info
        What ``build_trainset`` returned.
    loss_type
        For ranking. Of each row: ``"cross_entropy"``, ``"focal"`` or ``"hinge"``. Of an observed item against its
        negatives, which need ``neg_sampling=True``: ``"bpr"``, ``"max_margin"``, or ``"softmax"`` over all of them.
        What is predicted is σ(score) in any case; it is a probability as far as cross-entropy made it one.
        Rating uses squared error whatever stands here.
    embed_size
        Size of the vectors.
    n_epochs
        Passes over the data a ``fit``.
    lr
        The optimiser's learning rate: about 0.001 for Adam, 0.05 for Adagrad; SGD needs far more.
    lr_decay
        The learning rate's factor after each epoch: True is 0.96, False none.
    epsilon
        What Adam and Adagrad add to the root that they divide by.
    reg
        Squared-norm penalty on the vectors and linear weights of each batch's rows, a pair; None is none.
    batch_size
        Scored pairs a step: with sampling, ``batch_size // (1 + num_neg)`` positives.
    sampler
        Where negatives come from: ``"random"`` (any item but the positive), ``"unconsumed"`` (any item the
        user did not consume) or ``"popular"`` (in proportion to popularity to the power ¾).
    num_neg
        Negatives for each positive.
    multi_sparse_combiner
        How the values of a multi-sparse field are pooled: ``"sum"``, ``"mean"``, ``"sqrtn"``, or ``"normal"``,
        not at all.
    seed
        For all that is random. Same seed, machine and threads: same bits.
    lower_upper_bound
        The range that rating predictions are clipped to; by default that of the training labels.
    tf_sess_config
        Accepted for LibRecommender's users and ignored.
    device
        ``"auto"``, or what torch calls a device.
    optimizer
        ``"adam"``, ``"adagrad"`` or ``"sgd"``; ``"lazy_adam"`` and ``"rowwise_adagrad"`` change, of the embedding
        tables, the rows of the batch alone, and are Adam and Adagrad elsewhere. ``"auto"`` is Adam, and lazy Adam for
        a side whose tables have more than 2 million numbers, so that a step costs as much whatever their size.
    initial_accumulator_value
        What the sums of squared gradients of ``"adagrad"`` and ``"rowwise_adagrad"`` start from. The papers' TensorFlow
        code has 1e-8 with half the sum of a batch's squares; losses are means here, so that the like of it is
        1e-8 · (2 / batch size)².
    clip_norm
        The gradient's norm is clipped to this; None leaves it.
    ema
        Decay of a moving average of the weights over steps, such as 0.995, that predictions are made with;
        None predicts with the last weights.
    embed_dropout
        Share of the vectors' elements that are hidden in training.
    id_dropout
        How often training hides who the user is, and which item it is, each by itself: code 0 then learns to speak from
        features alone, which ``cold_start="features"`` asks it to. One share for both, or a pair, the users' first: for
        new users alone, items are better left as they are.
    init_std
        Vectors start as N(0, init_std²).
    precision
        ``"bf16"`` lets training, and of scoring the layers behind the first, multiply matrices in bfloat16: about
        twice as fast on processors that have it, with scores a few thousandths of their spread away. Weights, and all
        sums over batches, stay float32.
    """

    task: str
    data_info: DataInfo
    loss_type: str = "cross_entropy"
    _: KW_ONLY
    embed_size: int = 16
    n_epochs: int = 20
    lr: float = 0.001
    lr_decay: bool | float = False
    epsilon: float = 1e-5
    reg: float | None = None
    batch_size: int = 256
    sampler: str | None = "random"
    num_neg: int = 1
    multi_sparse_combiner: str = "sqrtn"
    seed: int = 42
    lower_upper_bound: Sequence[float] | None = None
    tf_sess_config: object = None
    device: str = "auto"
    optimizer: str = "auto"
    initial_accumulator_value: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    embed_dropout: float = 0.0
    id_dropout: float | Sequence[float] = 0.0
    init_std: float = 0.01
    precision: str = "float32"

    def __init_subclass__(cls) -> None:
        """Make the subclass's annotations settings of its constructor."""
        dataclass(eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        """Check the settings."""
        self.check()

    def check(self) -> None:
        """Check the settings, which may be changed between fits."""
        check_choice("task", self.task, TASKS)
        if not isinstance(self.data_info, DataInfo):
            raise TypeError(f"data_info must be what build_trainset returned, got {type(self.data_info).__name__}")
        check_choice("loss_type", self.loss_type, [*RANKING_LOSSES, *(["squared"] if self.task == "rating" else [])])
        if self.task == "rating" and self.loss_type not in ("cross_entropy", "squared"):
            warn(f"task='rating' has squared error: loss_type={self.loss_type!r} is ignored")
        check_choice("multi_sparse_combiner", self.multi_sparse_combiner, get_args(Combiner))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("precision", self.precision, get_args(Precision))
        if self.sampler is not None:
            check_choice("sampler", self.sampler, SAMPLERS)
        for name, low in (("embed_size", 1), ("n_epochs", 1), ("batch_size", 2), ("num_neg", 1), ("seed", 0)):
            check_integer(name, getattr(self, name), low, BEYOND_SEEDS)
            setattr(self, name, int(getattr(self, name)))  # torch takes no integers of NumPy
        for name in ("lr", "epsilon", "init_std"):
            check_number(name, getattr(self, name), 0, open_low=True)
        check_number("initial_accumulator_value", self.initial_accumulator_value, 0, 3e38)
        check_number("embed_dropout", self.embed_dropout, 0, 1)
        for share in self.id_dropout_rates:
            check_number("id_dropout", share, 0, 1)
        self.id_dropout = self.id_dropout_rates if isinstance(self.id_dropout, list | tuple) else self.id_dropout
        for name, high in (("reg", float("inf")), ("clip_norm", float("inf")), ("ema", 1.0)):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, high)
        if not isinstance(self.lr_decay, bool):
            check_number("lr_decay", self.lr_decay, 0, open_low=True)
        bounds = self.data_info.min_max_rating if self.lower_upper_bound is None else self.lower_upper_bound
        if not isinstance(bounds, Sequence) or len(bounds) != 2 or isinstance(bounds, str):
            raise ValueError(f"lower_upper_bound must be (lower, upper), got {bounds!r}")
        for bound in bounds:
            check_number("lower_upper_bound", bound, float("-inf"))
        if bounds[0] > bounds[1]:
            raise ValueError(f"lower_upper_bound must be (lower, upper), got {bounds!r}")
        self.lower_bound, self.upper_bound = map(float, bounds)
        if self.lower_upper_bound is not None:
            self.lower_upper_bound = self.lower_bound, self.upper_bound
        check_device(self.device)
        for field in fields(self):
            if field.name in OF_ALGORITHMS:
                value, check = getattr(self, field.name), OF_ALGORITHMS[field.name]
                is_none = field.default == () and isinstance(value, list | tuple) and not value
                setattr(self, field.name, () if is_none else check(field.name, value))

    @property
    def id_dropout_rates(self) -> tuple[float, float]:
        """``id_dropout`` of users and of items."""
        shares = self.id_dropout
        if not isinstance(shares, list | tuple):
            return cast("tuple[float, float]", (shares, shares))
        if len(shares) != 2:
            raise ValueError(f"id_dropout must be a share, or a pair of shares (users, items), got {shares!r}")
        return shares[0], shares[1]

    def __repr__(self) -> str:
        """The algorithm and its settings."""
        shown = [field.name for field in fields(self) if field.name not in ("data_info", "tf_sess_config")]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def model_name(self) -> str:
        """The algorithm's name."""
        return type(self).__name__

    @property
    def n_users(self) -> int:
        """How many users are known."""
        return self.data_info.n_users

    @property
    def n_items(self) -> int:
        """How many items are known."""
        return self.data_info.n_items

    @property
    def user_consumed(self) -> Consumed:
        """What each user consumed in training, by code."""
        return self.data_info.user_consumed

    @property
    def default_pred(self) -> float:
        """What ``cold_start="popular"`` predicts: the mean label, or for ranking 0."""
        return self.data_info.global_mean if self.task == "rating" else 0.0
