"""Optimisers: how a step changes the weights, and what is kept of each between steps."""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# torch writes the steps of many weights at once with an underscore, in its documentation, too.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from recolib.files import prefixed, under
from recolib.process_group import ProcessGroup
from recolib.training.gradients import sum_gradients

Moments = dict[str, Tensor]
"""What is kept of a weight, by name, the number of its steps aside."""
BETAS = 0.9, 0.999
"""Adam's decays of the means of gradients and of their squares."""


@dataclass(frozen=True)
class Rates:
    """The numbers of an optimiser; see ``Settings``. Linear weights and w0 may have a learning rate of their own."""

    lr: float
    epsilon: float
    initial_accumulator_value: float
    wide_lr: float | None = None

    def scaled(self, factor: float) -> Rates:
        """The same with all learning rates multiplied by a factor."""
        return replace(self, lr=self.lr * factor, wide_lr=None if self.wide_lr is None else self.wide_lr * factor)

    def of(self, is_wide: bool) -> Rates:
        """Those of the linear weights, or of the others."""
        return self if self.wide_lr is None or not is_wide else replace(self, lr=self.wide_lr)


@dataclass(eq=False)
class ParamState:
    """A weight, how many steps it made, and what is kept of it; ``elsewhere``, it is stepped by others."""

    weight: Tensor
    is_table: bool
    by_rows: bool
    is_wide: bool = False
    elsewhere: bool = False
    n_steps: int = 0
    moments: Moments = field(default_factory=dict[str, Tensor])

    @property
    def gradient(self) -> Tensor:
        """Its gradient."""
        assert self.weight.grad is not None
        return self.weight.grad


StepWeights = Callable[[Sequence[ParamState], Rates], None]
"""Weights that made as many steps, this one included."""
StepRows = Callable[[ParamState, Tensor, Tensor, Rates], None]
"""A table, the rows that have a gradient, each once, and their gradients."""


def _adam(params: Sequence[ParamState], rates: Rates) -> None:
    weights = [one.weight for one in params]
    step = torch.full((), params[0].n_steps, dtype=torch.float32, device=weights[0].device)
    torch._fused_adam_(  # what torch.optim.Adam calls; to collect the lists takes it as long again
        weights,
        [one.gradient for one in params],
        [one.moments["exp_avg"] for one in params],
        [one.moments["exp_avg_sq"] for one in params],
        [],
        [step] * len(weights),
        lr=rates.lr,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=0.0,
        eps=rates.epsilon,
        amsgrad=False,
        maximize=False,
    )


def _adam_of_rows(table: ParamState, rows: Tensor, gradient: Tensor, rates: Rates) -> None:
    mean = table.moments["exp_avg"].index_select(0, rows).lerp_(gradient, 1 - BETAS[0])
    square = table.moments["exp_avg_sq"].index_select(0, rows).lerp_(gradient * gradient, 1 - BETAS[1])
    table.moments["exp_avg"].index_copy_(0, rows, mean)
    table.moments["exp_avg_sq"].index_copy_(0, rows, square)
    size = square.sqrt_().mul_((1 - BETAS[1] ** table.n_steps) ** -0.5).add_(rates.epsilon)
    table.weight.index_add_(0, rows, mean.div_(size), alpha=-rates.lr / (1 - BETAS[0] ** table.n_steps))


def _adagrad(params: Sequence[ParamState], rates: Rates) -> None:
    gradients, sums = [one.gradient for one in params], [one.moments["sum"] for one in params]
    torch._foreach_addcmul_(sums, gradients, gradients)
    sizes = torch._foreach_sqrt(sums)
    torch._foreach_add_(sizes, rates.epsilon)
    torch._foreach_addcdiv_([one.weight for one in params], gradients, sizes, value=-rates.lr)


def _adagrad_of_rows(table: ParamState, rows: Tensor, gradient: Tensor, rates: Rates) -> None:
    total = table.moments["sum"].index_select(0, rows).add_((gradient * gradient).mean(-1, keepdim=True))
    table.moments["sum"].index_copy_(0, rows, total)
    table.weight.index_add_(0, rows, gradient / total.sqrt_().add_(rates.epsilon), alpha=-rates.lr)


def _sgd(params: Sequence[ParamState], rates: Rates) -> None:
    torch._foreach_add_([one.weight for one in params], [one.gradient for one in params], alpha=-rates.lr)


def _sums_of_rows(gradient: Tensor, distinct: dict[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The rows of a sparse gradient, each once, with their sums; ``distinct`` serves all tables of one lookup."""
    indices, values = gradient._indices(), gradient._values()
    if indices.data_ptr() not in distinct:
        distinct[indices.data_ptr()] = indices[0].unique(return_inverse=True)
    rows, place = distinct[indices.data_ptr()]
    return rows, values.new_zeros(len(rows), values.shape[1]).index_add_(0, place, values)


@dataclass(frozen=True)
class OptimizerSpec:
    """A way to step: of weights all at once, and of the rows of embedding tables that a batch touches.

    Attributes
    ----------
    family
        Methods of one family keep the same, and go over into each other.
    keeps
        What is kept of each weight, beside the number of its steps.
    of_weights, of_rows
        How they step.
    rows_above
        Groups of tables of more numbers than this are stepped by rows.
    sums_rows
        Whether of a table stepped by rows there is one number a row.
    """

    family: str
    keeps: tuple[str, ...]
    of_weights: StepWeights
    of_rows: StepRows | None = None
    rows_above: int = 0
    sums_rows: bool = False


OF_ADAM, OF_ADAGRAD = ("exp_avg", "exp_avg_sq"), ("sum",)
NEVER_NEGATIVE = {"step", "exp_avg_sq", "sum"}
ROWS_ABOVE = 2**21
"""Numbers in a table from which on ``"auto"`` steps it by rows; see docs/performance.md."""
OPTIMIZERS = {
    "auto": OptimizerSpec("adam", OF_ADAM, _adam, _adam_of_rows, ROWS_ABOVE),
    "adam": OptimizerSpec("adam", OF_ADAM, _adam),
    "adagrad": OptimizerSpec("adagrad", OF_ADAGRAD, _adagrad),
    "sgd": OptimizerSpec("sgd", (), _sgd),
    "lazy_adam": OptimizerSpec("adam", OF_ADAM, _adam, _adam_of_rows),
    "rowwise_adagrad": OptimizerSpec("rowwise_adagrad", OF_ADAGRAD, _adagrad, _adagrad_of_rows, sums_rows=True),
}
"""``"lazy_adam"`` and ``"rowwise_adagrad"`` leave rows of tables that no batch touches as they are, and their moments.

References: Kingma and Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015; Duchi et al., *Adaptive Subgradient
Methods for Online Learning and Stochastic Optimization*, JMLR 2011; a sum a row as in Naumov et al., *Deep Learning
Recommendation Model for Personalization and Recommendation Systems*, 2019.
"""


class Optimizer:
    """Steps a network's weights by a method.

    The gradients of embedding tables are sparse if the method steps them by rows, else dense.

    Parameters
    ----------
    network
        What is trained.
    tables
        Its embedding tables, which are looked up in and nothing else; those that are looked up together as one group.
    name
        One of ``OPTIMIZERS``.
    rates
        The numbers to start with.
    wide
        The weights that go by ``rates.wide_lr``, if there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        tables: Sequence[Sequence[nn.Embedding]],
        name: str,
        rates: Rates,
        wide: Sequence[Tensor] = (),
    ) -> None:
        self.name, self.spec, self.rates = name, OPTIMIZERS[name], rates
        self.params = _param_states(network, tables, self.spec)
        for one in self.params.values():
            one.is_wide = any(one.weight is weight for weight in wide)
        for together in tables:
            for table in together:
                table.sparse = any(one.weight is table.weight and one.by_rows for one in self.params.values())

    def zero_grad(self) -> None:
        """Forget the gradients; those of tables keep their memory."""
        for one in self.params.values():
            if one.is_table and one.weight.grad is not None and not one.by_rows:
                one.weight.grad.zero_()
            else:
                one.weight.grad = None

    def drop_grad(self) -> None:
        """Let go of the gradients, which are as large as the weights."""
        for one in self.params.values():
            one.weight.grad = None

    def sum_gradients(self, group: ProcessGroup) -> None:
        """Let each process have the gradients of all."""
        if not group.is_alone:
            sum_gradients([one.weight for one in self.params.values() if not one.elsewhere], group)

    def clip(self, norm: float) -> None:
        """Shorten the gradient of all weights together to a norm."""
        gradients: list[Tensor] = []
        for one in self.params.values():
            gradient = one.weight.grad
            if gradient is not None and gradient.is_sparse:
                one.weight.grad = gradient = gradient.coalesce()
                gradient = gradient.values()
            if gradient is not None:
                gradients.append(gradient)
        if gradients:
            whole = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (norm / (whole + 1e-6)).clamp_max(1.0))

    def set_rates(self, rates: Rates) -> None:
        """Go on by other numbers."""
        self.rates = rates

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients."""
        alike: dict[tuple[int, bool], list[ParamState]] = {}
        narrow, wide = self.rates, self.rates.of(is_wide=True)
        distinct: dict[int, tuple[Tensor, Tensor]] = {}
        for one in self.params.values():
            if one.weight.grad is None:
                one.n_steps += one.elsewhere
                continue
            if not one.n_steps and not one.moments:
                one.moments = self._start(one)
            one.n_steps += 1
            if one.by_rows and self.spec.of_rows is not None:
                self.spec.of_rows(one, *_sums_of_rows(one.weight.grad, distinct), wide if one.is_wide else narrow)
            else:
                alike.setdefault((one.n_steps, one.is_wide), []).append(one)
        for (_, is_wide), some in alike.items():
            self.spec.of_weights(some, wide if is_wide else narrow)

    def hand_over(self, weight: Tensor) -> ParamState:
        """A weight that others step from here on, and what is kept of it."""
        one = next(one for one in self.params.values() if one.weight is weight)
        if not one.moments:
            one.moments = self._start(one)
        one.elsewhere = True
        return one

    def state(self) -> dict[str, Tensor]:
        """What is kept of each weight, by the names of the method's family, of the weight, and of what is kept."""
        parts: dict[str, Tensor] = {}
        for name, one in self.params.items():  # nothing is kept where there never was a gradient
            if one.moments:
                step = torch.tensor(float(one.n_steps))
                parts |= prefixed(f"{self.spec.family}.{name}", {"step": step, **one.moments})
        return parts

    def restore(self, state: Mapping[str, Tensor], rates: Rates) -> None:
        """Go on from a ``state``; from one without this family's part, begin anew.

        Raises
        ------
        ValueError
            If it contradicts itself, or is of other weights.
        """
        moments = _read_moments(self.params, self.spec, state)
        for name, one in self.params.items():
            one.moments = moments.get(name, {})
            one.n_steps = int(one.moments.pop("step", 0))
        self.rates = rates

    def _start(self, one: ParamState) -> Moments:
        start = self.rates.initial_accumulator_value if "sum" in self.spec.keeps else 0.0
        return {what: torch.full_like(like, start) for what, like in _likes(one, self.spec).items()}


def read_moments(
    network: nn.Module, tables: Sequence[Sequence[nn.Embedding]], name: str, state: Mapping[str, Tensor]
) -> dict[str, Moments]:
    """What an ``Optimizer.state`` keeps of each weight, of those that it keeps anything of.

    Raises
    ------
    ValueError
        If it contradicts itself, or is of other weights.
    """
    spec = OPTIMIZERS[name]
    return _read_moments(_param_states(network, tables, spec), spec, state)


def _param_states(
    network: nn.Module, tables: Sequence[Sequence[nn.Embedding]], spec: OptimizerSpec
) -> dict[str, ParamState]:
    by_rows: dict[int, bool] = {}
    for together in tables:
        size = sum(table.weight.numel() for table in together)
        for table in together:
            by_rows[id(table.weight)] = spec.of_rows is not None and size > spec.rows_above
    return {
        path: ParamState(weight, id(weight) in by_rows, by_rows.get(id(weight), False))
        for path, weight in network.named_parameters()
    }


def _likes(one: ParamState, spec: OptimizerSpec) -> Moments:
    """What each moment is shaped, typed and laid out in memory like: a fused step runs through all at once."""
    weight = one.weight.detach()
    return dict.fromkeys(spec.keeps, weight[:, :1] if one.by_rows and spec.sums_rows else weight)


def _read_moments(
    params: Mapping[str, ParamState], spec: OptimizerSpec, state: Mapping[str, Tensor]
) -> dict[str, Moments]:
    found = under(spec.family, state)
    names = sorted({one.rpartition(".")[0] for one in found})
    return {name: _read(name, params, spec, found) for name in names}


def _read(name: str, params: Mapping[str, ParamState], spec: OptimizerSpec, found: Mapping[str, Tensor]) -> Moments:
    """The moments of a weight, and its number of steps."""
    keeps = ("step", *spec.keeps)
    one = {what: found[f"{name}.{what}"] for what in keeps if f"{name}.{what}" in found}
    if name not in params or one.keys() != set(keeps):
        raise ValueError(f"the optimiser keeps {keeps} of each of its weights: see {name!r}")
    likes = {"step": torch.zeros(()), **_likes(params[name], spec)}
    for what, own in likes.items():
        if one[what].shape != own.shape or one[what].dtype != own.dtype:
            raise ValueError(
                f"the weights {name!r} keep {what} as {one[what].dtype} {list(one[what].shape)}, "
                f"and the optimiser needs {own.dtype} {list(own.shape)}"
            )
    if any(bool((one[what] < 0).any()) for what in NEVER_NEGATIVE & one.keys()):
        raise ValueError(f"no step or square of the optimiser is negative: see {name!r}")
    if params[name].weight.is_meta:  # all is checked, and there is nothing to keep it in
        return one
    return {what: torch.empty_like(own).copy_(one[what]) for what, own in likes.items()}
