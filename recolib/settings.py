"""Settings: what every algorithm can be set to, and how an algorithm's own settings are checked.

An algorithm's setting is checked by its annotation: ``hidden_units: Widths = (64, 32)`` must be layer widths. The
annotations here are for algorithms of one's own, too; ``Annotated[int, Check(my_check)]`` makes another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, cast, dataclass_transform, get_args

from recolib.annotations import (
    Check,
    Count,
    Flag,
    FlagOrRecent,
    HeadCount,
    LayerCount,
    Length,
    NotNegative,
    OptionalShare,
    OptionalSize,
    OptionalWidths,
    Positive,
    Share,
    Size,
    Widths,
    checks_of,
    naming_nearest,
    one_of,
    sizes_of,
)
from recolib.checks import (
    BEYOND_SEEDS,
    check_choice,
    check_choice_or_function,
    check_device,
    check_integer,
    check_number,
    readable,
)
from recolib.data.consumed import Consumed
from recolib.data.info import DataInfo
from recolib.exceptions import warn
from recolib.nn.embedding import Combiner
from recolib.nn.network import Precision
from recolib.sampling import SAMPLERS, Sampler
from recolib.training.catalogue_losses import CATALOGUE_LOSSES, IMPLICIT
from recolib.training.losses import RANKING_LOSSES, Loss, check_loss
from recolib.training.optimizers import OPTIMIZERS
from recolib.training.shards import check_shards

__all__ = [
    "Check",
    "Count",
    "Flag",
    "FlagOrRecent",
    "HeadCount",
    "LayerCount",
    "Length",
    "NotNegative",
    "OptionalShare",
    "OptionalSize",
    "OptionalWidths",
    "Positive",
    "Settings",
    "Share",
    "Size",
    "Widths",
    "checks_of",
    "one_of",
    "sizes_of",
]
TASKS = ("rating", "ranking")
ALL_ITEMS = "all"
"""``num_neg`` for training against the whole catalogue."""
SHARED = "shared"
"""``sampler`` for negatives that are drawn for a whole batch."""
OPEN: Any = None
"""The default of a setting that the first ``fit`` chooses a value for."""
MAY_BE_OPEN = (
    "loss_type",
    "embed_size",
    "n_epochs",
    "lr",
    "prior",
    "batch_size",
    "num_neg",
    "embed_dropout",
    "use_bn",
    "dropout_rate",
    "hidden_units",
    "item_to_item_l2",
    "item_to_item_weight",
)


def _check_catalogue(settings: Settings) -> None:
    """Raise unless the loss is one of a positive against the catalogue."""
    if settings.num_neg == ALL_ITEMS and settings.sampler == SHARED:
        raise ValueError(f"num_neg={ALL_ITEMS!r} draws nothing: choose how many sampler={SHARED!r} draws for a batch")
    if settings.task == "ranking" and settings.loss_type not in (None, *CATALOGUE_LOSSES):
        given = f"num_neg={ALL_ITEMS!r}" if settings.num_neg == ALL_ITEMS else f"sampler={SHARED!r}"
        raise ValueError(
            f"{given} has loss_type {' or '.join(map(repr, CATALOGUE_LOSSES))}, got {readable(settings.loss_type)}: "
            "choose one of these, or draw negatives for each positive, such as num_neg=4"
        )


def _rates(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """A share for both sides, or the users' and the items'."""
    if not isinstance(value, list | tuple):
        return cast("tuple[float, float]", (value, value))
    if len(value) != 2:
        raise ValueError(f"{name} must be a share, or a pair of shares (users, items), got {value!r}")
    return value[0], value[1]


@dataclass_transform(kw_only_default=True)
@dataclass(eq=False, repr=False)
class Settings:
    """The settings that all algorithms share.

    Those whose default is None are chosen by the first ``fit``, from the task, the size of the data and the other
    settings; afterwards the model has them. :doc:`/choosing` says which values, and why.

    Parameters
    ----------
    task
        ``"rating"``: labels are numbers, and predictions are clipped to their range. ``"ranking"``: labels say
        whether an event happened, and predictions are probabilities.
    data_info
        What ``build_trainset`` returned.
    loss_type
        For ranking. Of each row: ``"cross_entropy"``, ``"focal"`` or ``"hinge"``. Of an observed item against its
        negatives, which need ``neg_sampling=True``: ``"bpr"``, ``"max_margin"``, or ``"softmax"`` over all of them.
        ``"implicit"`` is squared error of every pair of a user and an item, for which an FM needs no scores but those
        of the positives: the fastest, with lists a little below those of ``"softmax"``.
        Or a function of scores, labels and weights; see ``recolib.training.losses.Loss``. A prediction is σ(score)
        with each of them; only cross-entropy, and softmax against the catalogue, make it a probability. Rating uses
        squared error, or a function. Chosen: ``"softmax"`` against the catalogue, else ``"cross_entropy"``.
    embed_size
        Size of the vectors. Chosen: 128 against the catalogue, which takes larger ones well, 64 where there are
        ``hidden_units``, but for ``DeepFM``; else 16.
    n_epochs
        Passes over the data a ``fit``. Chosen: as many as help on a part of the data that is held out; see ``fit``.
    lr
        The optimiser's learning rate: about 0.001 for Adam, 0.05 for Adagrad; SGD needs far more. Chosen: 0.005
        against the catalogue, where a step sees many positives; 0.003 for ratings of ``NFM`` and ``WideDeep``; else
        0.001.
    lr_decay
        The learning rate's factor after each epoch: True is 0.96, False none.
    epsilon
        Adam's and Adagrad's ε.
    reg
        Squared-norm penalty on the vectors and linear weights of each batch's rows, a pair; None is none. A vector is
        penalised as often as it occurs.
    prior
        The precision λ of a normal prior: each vector adds λ‖v‖² to the sum of all losses of an epoch, once, however
        often it occurs, so that ids with few rows stay near 0. Linear weights have it too where each row has a label or
        negatives of its own. Chosen: 3 against the catalogue and for ratings, if ``reg`` is None; else 0.
    batch_size
        Scored pairs a step: with sampling, ``batch_size // (1 + num_neg)`` positives. Against the catalogue it is in
        user rows, each with all its positives. Chosen: a sixteenth of the user rows, from 16 to 256; else a
        128th of the rows, from 32 to 256.
    sampler
        Where negatives come from: ``"random"`` (any item but the positive), ``"unconsumed"`` (any item the
        user did not consume) or ``"popular"`` (in proportion to popularity to the power ¾); or a function of the
        ``DataInfo`` that gives what draws them; see ``recolib.sampling``. ``"shared"`` draws ``num_neg`` items for a
        whole batch, half by popularity and half alike. With the batch's own positives they stand for the catalogue,
        each for as many items as its chance to be among them says.
    num_neg
        Negatives for each positive; or ``"all"``: each positive stands against every item that has interactions, and
        nothing is drawn. Lists get better by this than by any number of negatives: an epoch scores each user row (a
        user with a context) with each item. Against the catalogue ``loss_type`` is ``"softmax"``, the multinomial
        likelihood, ``"cross_entropy"``, which has the expectation of one random negative without its noise, or
        ``"implicit"``, squared error of every pair. With the first two σ(score) is the probability that of the item and
        a random one the item is the positive. ``evaluate`` then draws one negative. Chosen: ``"all"`` up to 20,000
        items, else 4,096 with ``sampler="shared"``; 1 with another loss or sampler, or with a ``batch_size``, which
        counts pairs.
    unobserved_weight
        With ``loss_type="implicit"``: how much a pair of a user row and any item, which is to be 0, counts beside a
        positive, which is to be 1. It is 1/α of ALS. 0.2 was within a twentieth of the best of 0.05 to 1 on seven data
        sets.
    multi_sparse_combiner
        How the values of a multi-sparse field are pooled: ``"sum"``, ``"mean"``, or ``"sqrtn"``, the sum over √n.
        ``"normal"`` does not pool them.
    seed
        For all that is random. The same seed gives the same bits on the same machine with as many threads, whatever
        other models train meanwhile; torch's global generators are left alone.
    lower_upper_bound
        The range that rating predictions are clipped to; by default that of the training labels.
    tf_sess_config
        Ignored; LibRecommender has it.
    device
        ``"auto"``, or what torch calls a device.
    optimizer
        ``"adam"``, ``"adagrad"`` or ``"sgd"``. ``"lazy_adam"`` and ``"rowwise_adagrad"`` change only the batch's rows
        of the embedding tables, and are Adam and Adagrad for all other weights. ``"auto"`` is Adam, and lazy Adam for a
        side whose tables have more than 2 million numbers: the time of a step then does not grow with them.
    initial_accumulator_value
        Where the sums of squared gradients of ``"adagrad"`` and ``"rowwise_adagrad"`` start. The papers' TensorFlow
        code starts at 1e-8, with half the sum of a batch's squared errors as loss. Losses are means here: the same
        start is 1e-8 · (2 / batch size)².
    clip_norm
        The gradient's norm is clipped to this; None leaves it.
    ema
        Decay of a moving average of the weights over steps, such as 0.995. Predictions then use the average; with
        None they use the last weights.
    embed_dropout
        Dropout on the vectors' elements: one share for both sides, or a pair (users, items). Chosen: (0.5, 0) against
        the catalogue, where users' vectors overfit without it; 0.4 for ratings of ``NFM`` and ``WideDeep``; else 0.
    id_dropout
        Share of the rows in which training replaces the user's or the item's id by the unknown one, each by itself.
        The unknown id then learns to predict from features alone, as ``cold_start="features"`` does. One share for
        both, or a pair (users, items): where only users will be new, (0.1, 0) is better.
    init_std
        Vectors start as N(0, init_std²).
    history
        Whether what a user consumed before is one more field of their side: the sum of the items' vectors over √n. In
        training an event has what came before it, or without times all but itself. When a model answers it is all
        that is known, and what a request brings as ``history``, for new users as well. ``"recent"``, for what comes
        next: an item counts the less, the more others the user consumed after it, 1 / (1 + k), in the field and in
        ``item_to_item``. Against the catalogue positives do likewise, by how many come before them. Without times rows
        are taken to be in order.
    max_history
        The most items that it has: the latest count.
    item_to_item
        Whether to add, for ranking, w Σ_j x_j B[j, i] over the items j that the user consumed, where B is solved for in
        closed form, as in ``EASE``, and x_j is 1, or what ``history="recent"`` makes of it. Its matrix has a row and a
        column an item: for up to 50,000 items.
    item_to_item_l2
        The penalty λ of B. Chosen on a part of the data that is held out, as ``n_epochs``.
    item_to_item_weight
        w. Chosen on the same part, when the rest of the model is trained.
    precision
        ``"bf16"`` multiplies matrices in bfloat16, in training, and in scoring behind the first layer. It is about
        twice as fast on processors that have it; scores change by a few thousandths of their spread. Weights, and all
        sums over batches, stay float32.
    shard
        ``"rows"``: processes that train together share out the rows of the tables of vectors, instead of each training
        all. Needs ``optimizer="rowwise_adagrad"``, an ``embed_size`` that is a multiple of 4, and torchrec; see
        :doc:`/scaling`. A process alone has all rows.
    """

    has_epochs: ClassVar[bool] = True
    """Whether there is anything to train, and not only to solve for."""
    has_sequences: ClassVar[bool] = False
    """Whether a row is a user's whole sequence, each of whose events is a row of the loss: a batch then is of few."""

    is_of_pairs: ClassVar[bool] = False
    """Whether so much is computed of each pair that one negative is drawn, where nothing else is said."""

    alternates: ClassVar[bool] = False
    """Whether vectors are solved for, those of users and of items in turn, instead of stepped."""

    task: str
    data_info: DataInfo
    loss_type: str | Loss = OPEN
    _: KW_ONLY
    embed_size: Size = OPEN
    n_epochs: int = OPEN
    lr: float = OPEN
    lr_decay: bool | float = False
    epsilon: float = 1e-5
    reg: float | None = None
    prior: float = OPEN
    batch_size: int = OPEN
    sampler: str | Sampler | None = "random"
    num_neg: int | str = OPEN
    unobserved_weight: NotNegative = 0.2
    multi_sparse_combiner: str = "sqrtn"
    seed: int = 42
    lower_upper_bound: Sequence[float] | None = None
    tf_sess_config: object = None
    device: str = "auto"
    optimizer: str = "auto"
    initial_accumulator_value: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    embed_dropout: float | Sequence[float] = OPEN
    id_dropout: float | Sequence[float] = 0.0
    init_std: float = 0.01
    history: FlagOrRecent = False
    max_history: Length = 50
    item_to_item: Flag = False
    item_to_item_l2: Positive = OPEN
    item_to_item_weight: NotNegative = OPEN
    precision: str = "float32"
    shard: str | None = None

    def __init_subclass__(cls) -> None:
        """Make the subclass's annotations settings of its constructor."""
        has_own = "__init__" in vars(cls)
        dataclass(eq=False, repr=False, kw_only=True)(cls)
        if not has_own:
            cast("Any", cls).__init__ = naming_nearest(cls.__init__)

    def __post_init__(self) -> None:
        """Check the settings."""
        self.check()

    def check(self) -> None:
        """Check the settings, which may be changed between fits."""
        check_choice("task", self.task, TASKS)
        if not isinstance(self.data_info, DataInfo):
            raise TypeError(f"data_info must be what build_trainset returned, got {type(self.data_info).__name__}")
        given = [name for name in MAY_BE_OPEN if getattr(self, name, None) is not None]
        if "loss_type" in given:
            self._check_loss()
        check_choice("multi_sparse_combiner", self.multi_sparse_combiner, get_args(Combiner))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("precision", self.precision, get_args(Precision))
        if self.sampler is not None:
            check_choice_or_function("sampler", self.sampler, [*SAMPLERS, SHARED])
        if self.num_neg == ALL_ITEMS or self.sampler == SHARED:
            _check_catalogue(self)
        elif self.loss_type == IMPLICIT and self.num_neg is not None:
            raise ValueError(
                f"loss_type={IMPLICIT!r} is of all pairs, and num_neg={self.num_neg} are negatives of each positive: "
                f"choose num_neg={ALL_ITEMS!r}, or how many sampler={SHARED!r} draws for a batch"
            )
        elif self.loss_type == IMPLICIT and self.sampler not in ("random", None):
            raise ValueError(
                f"loss_type={IMPLICIT!r} is of all pairs, and sampler={readable(self.sampler)} draws negatives of each "
                f"positive: choose num_neg={ALL_ITEMS!r}, or sampler={SHARED!r}, which draws for a batch"
            )
        if self.item_to_item and self.task == "rating":
            raise ValueError("item_to_item says what users consume, not how they rate: use task='ranking'")
        for name, low in (("n_epochs", int(self.has_epochs)), ("batch_size", 2), ("seed", 0), ("num_neg", 1)):
            if name == "seed" or (name in given and getattr(self, name) != ALL_ITEMS):
                check_integer(name, getattr(self, name), low, BEYOND_SEEDS)
                setattr(self, name, int(getattr(self, name)))  # torch takes no integers of NumPy
        for name in ("lr", "epsilon", "init_std"):
            if name != "lr" or (name in given and name not in checks_of(type(self))):
                check_number(name, getattr(self, name), 0, open_low=True)
        check_number("initial_accumulator_value", self.initial_accumulator_value, 0, 3e38)
        for name in ("embed_dropout", "id_dropout"):
            if name in MAY_BE_OPEN and name not in given:
                continue
            rates = _rates(name, getattr(self, name))
            for rate in rates:
                check_number(name, rate, 0, 1)
            if isinstance(getattr(self, name), list | tuple):
                setattr(self, name, rates)
        for name, high in (("reg", float("inf")), ("prior", float("inf")), ("clip_norm", float("inf")), ("ema", 1.0)):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, high)
        if not isinstance(self.lr_decay, bool):
            check_number("lr_decay", self.lr_decay, 0, open_low=True)
        bounds = self.data_info.min_max_rating if self.lower_upper_bound is None else self.lower_upper_bound
        is_pair = isinstance(bounds, Sequence) and not isinstance(bounds, str) and len(bounds) == 2
        for bound in bounds if is_pair else ():
            check_number("lower_upper_bound", bound, float("-inf"))
        if not is_pair or bounds[0] > bounds[1]:
            raise ValueError(f"lower_upper_bound must be (lower, upper), got {bounds!r}")
        self.lower_bound, self.upper_bound = map(float, bounds)
        if self.lower_upper_bound is not None:
            self.lower_upper_bound = self.lower_bound, self.upper_bound
        check_device(self.device)
        if self.shard is not None:
            check_shards(self.shard, self.optimizer, self.embed_size, ema=self.ema, clip_norm=self.clip_norm)
        for name, check in checks_of(type(self)).items():
            if name in given or name not in MAY_BE_OPEN or getattr(type(self), name) is not OPEN:
                setattr(self, name, check.function(name, getattr(self, name)))

    def _check_loss(self) -> None:
        losses = [*RANKING_LOSSES, IMPLICIT, *(["squared"] if self.task == "rating" else [])]
        check_choice_or_function("loss_type", self.loss_type, losses)
        if not isinstance(self.loss_type, str):
            check_loss(self.loss_type, self.task)
        elif self.task == "rating" and self.loss_type not in ("cross_entropy", "squared"):
            warn(f"task='rating' has squared error: loss_type={self.loss_type!r} is ignored")

    @property
    def id_dropout_rates(self) -> tuple[float, float]:
        """``id_dropout`` of users and of items."""
        return _rates("id_dropout", self.id_dropout)

    @property
    def embed_dropout_rates(self) -> tuple[float, float]:
        """``embed_dropout`` of users and of items."""
        return _rates("embed_dropout", self.embed_dropout)

    @property
    def has_catalogue(self) -> bool:
        """Whether negatives are the catalogue, or items drawn for a whole batch, and not some for each positive."""
        return self.num_neg == ALL_ITEMS or self.sampler == SHARED

    def __repr__(self) -> str:
        """The algorithm and its settings."""
        shown = [field.name for field in fields(self) if field.name not in ("data_info", "tf_sess_config")]
        return f"{type(self).__name__}({', '.join(f'{name}={readable(getattr(self, name))}' for name in shown)})"

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
