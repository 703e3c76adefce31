"""Optimisers: how a step changes the weights, and what is kept of each between steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recolib.files import prefixed, under


@dataclass(frozen=True)
class Rates:
    """The numbers of an optimiser; see ``Settings``."""

    lr: float
    epsilon: float
    initial_accumulator_value: float


class LazyAdam(torch.optim.Optimizer):
    """Adam for tables whose gradient is sparse: a row that no batch touches stands still, its moments too.

    Where every batch touches every row it is Adam.
    """

    def __init__(self, params: Sequence[Tensor], lr: float, eps: float, betas: tuple[float, float] = (0.9, 0.999)):
        super().__init__(params, {"lr": lr, "eps": eps, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change the rows that have a gradient."""
        for group, table, rows, gradient in _touched(self):
            first, second = group["betas"]
            state = self.state[table]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
            state["step"] += 1
            mean = state["exp_avg"][rows].lerp_(gradient, 1 - first)
            square = state["exp_avg_sq"][rows].lerp_(gradient.square(), 1 - second)
            state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
            n = float(state["step"])
            size = square.sqrt_().div_((1 - second**n) ** 0.5).add_(group["eps"])
            table.index_add_(0, rows, mean / size, alpha=-group["lr"] / (1 - first**n))


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad for tables whose gradient is sparse, with one sum a row: of the means of its squared gradients.

    References
    ----------
    Duchi et al., *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, JMLR 2011; a sum a
    row as in Naumov et al., *Deep Learning Recommendation Model for Personalization and Recommendation Systems*, 2019.
    """

    def __init__(self, params: Sequence[Tensor], lr: float, eps: float, initial_accumulator_value: float):
        super().__init__(params, {"lr": lr, "eps": eps})
        for group in self.param_groups:
            for table in group["params"]:
                self.state[table]["step"] = torch.zeros((), dtype=torch.float32)
                self.state[table]["sum"] = table.new_full((len(table), 1), initial_accumulator_value)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change the rows that have a gradient."""
        for group, table, rows, gradient in _touched(self):
            state = self.state[table]
            state["step"] += 1
            total = state["sum"][rows] + gradient.square().mean(-1, keepdim=True)
            state["sum"][rows] = total
            table.index_add_(0, rows, gradient / total.sqrt_().add_(group["eps"]), alpha=-group["lr"])


def _touched(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], Tensor, Tensor, Tensor]]:
    """Group, table, rows and their gradients, of each table that has any."""
    found = []
    for group in optimizer.param_groups:
        for table in group["params"]:
            if table.grad is not None:
                gradient = table.grad.coalesce()
                found.append((group, table, gradient.indices()[0], gradient.values()))
    return found


Maker = Callable[[Sequence[Tensor], Rates], torch.optim.Optimizer]


def _adam(parameters: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, rates.lr, eps=rates.epsilon, fused=True)


def _adagrad(parameters: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    start, on_cpu = rates.initial_accumulator_value, all(weight.device.type == "cpu" for weight in parameters)
    return torch.optim.Adagrad(
        parameters, rates.lr, eps=rates.epsilon, initial_accumulator_value=start, fused=on_cpu or None
    )


def _sgd(parameters: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, rates.lr, fused=True)


def _lazy_adam(tables: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    return LazyAdam(tables, rates.lr, rates.epsilon)


def _rowwise_adagrad(tables: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    return RowwiseAdagrad(tables, rates.lr, rates.epsilon, rates.initial_accumulator_value)


@dataclass(frozen=True)
class Method:
    """A way to step: what steps the weights and, where that is another thing, the embedding tables.

    ``sums_rows`` says that of tables there is one sum a row.
    """

    keeps: tuple[str, ...]
    of_weights: Maker
    of_tables: Maker | None = None
    sums_rows: bool = False


OF_ADAM, OF_ADAGRAD = ("step", "exp_avg", "exp_avg_sq"), ("step", "sum")
NEVER_NEGATIVE = {"step", "exp_avg_sq", "sum"}
METHODS = {
    "adam": Method(OF_ADAM, _adam),
    "adagrad": Method(OF_ADAGRAD, _adagrad),
    "sgd": Method((), _sgd),
    "lazy_adam": Method(OF_ADAM, _adam, _lazy_adam),
    "rowwise_adagrad": Method(OF_ADAGRAD, _adagrad, _rowwise_adagrad, sums_rows=True),
}


class Optimizer:
    """Steps a network's weights by a method.

    The gradients of embedding tables are sparse if the method wants them so, else dense.

    Parameters
    ----------
    network
        What is trained.
    tables
        Its embedding tables, which are looked up in and nothing else.
    name
        One of ``METHODS``.
    rates
        The numbers to start with.

    Attributes
    ----------
    is_new
        Whether it has made no step, nor goes on from any.
    """

    def __init__(self, network: nn.Module, tables: Sequence[nn.Embedding], name: str, rates: Rates) -> None:
        self.name, self.method = name, METHODS[name]
        self.weights = dict(network.named_parameters())
        for table in tables:
            table.sparse = self.method.of_tables is not None
        apart = {id(table.weight) for table in tables} if self.method.of_tables else set[int]()
        self.tables = {path for path, weight in self.weights.items() if id(weight) in apart}
        self.inner = self._make(rates)
        self.is_new = True

    def zero_grad(self) -> None:
        """Let go of the gradients."""
        for weight in self.weights.values():
            weight.grad = None

    def clip(self, norm: float) -> None:
        """Shorten the gradient of all weights together to a norm."""
        gradients: list[Tensor] = []
        for weight in self.weights.values():
            if weight.grad is not None and weight.grad.is_sparse:
                weight.grad = weight.grad.coalesce()
                gradients.append(weight.grad.values())
            elif weight.grad is not None:
                gradients.append(weight.grad)
        if not gradients:
            return
        whole = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in gradients]))
        scale = (norm / (whole + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.mul_(scale)

    def adopt(self, rates: Rates) -> None:
        """Go on by other numbers."""
        for inner in self.inner:
            for group in inner.param_groups:
                group["lr"], group["eps"] = rates.lr, rates.epsilon

    def step(self) -> None:
        """Change the weights by their gradients."""
        for inner in self.inner:
            inner.step()
        self.is_new = False

    def state(self) -> dict[str, Tensor]:
        """What is kept of each weight, by the names of the method, of the weight, and of what is kept."""
        parts: dict[str, Tensor] = {}
        if self.is_new:
            return parts
        for name, weight in self.weights.items():  # nothing is kept where there never was a gradient
            parts |= prefixed(f"{self.name}.{name}", self._inner_of(name).state.get(weight, {}))
        return parts

    def restore(self, state: Mapping[str, Tensor], rates: Rates) -> None:
        """Go on from a ``state``; from one without this method's part, begin anew.

        Raises
        ------
        ValueError
            If it contradicts itself, or is of other weights.
        """
        found = under(self.name, state)
        kept = {name: self._checked(name, found) for name in sorted({one.rpartition(".")[0] for one in found})}
        self.inner = self._make(rates)
        for name, one in kept.items():
            self._inner_of(name).state[self.weights[name]] = one
        self.is_new = bool(self.method.keeps) and not kept

    def _make(self, rates: Rates) -> list[torch.optim.Optimizer]:
        weights = [weight for name, weight in self.weights.items() if name not in self.tables]
        inner = [self.method.of_weights(weights, rates)]
        if self.method.of_tables is not None:
            inner.append(self.method.of_tables([self.weights[name] for name in sorted(self.tables)], rates))
        return inner

    def _inner_of(self, name: str) -> torch.optim.Optimizer:
        return self.inner[-1 if name in self.tables else 0]

    def _checked(self, name: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is kept of a weight, laid out in memory as the weight is: a fused step goes through both in one run."""
        keeps = self.method.keeps
        one = {what: found[f"{name}.{what}"] for what in keeps if f"{name}.{what}" in found}
        if name not in self.weights or one.keys() != set(keeps):
            raise ValueError(f"the optimiser keeps {keeps} of each of its weights: see {name!r}")
        weight = self.weights[name]
        like: dict[str, Tensor] = dict.fromkeys(keeps, weight)
        like["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
        if self.method.sums_rows and name in self.tables:
            like["sum"] = weight[:, :1]
        for what, own in like.items():
            if one[what].shape != own.shape or one[what].dtype != own.dtype:
                raise ValueError(
                    f"the weights {name!r} keep {what} as {one[what].dtype} {list(one[what].shape)}, "
                    f"and the optimiser needs {own.dtype} {list(own.shape)}"
                )
        if any(bool((one[what] < 0).any()) for what in NEVER_NEGATIVE & one.keys()):
            raise ValueError(f"no step or square of the optimiser is negative: see {name!r}")
        return {what: torch.empty_like(own).copy_(one[what]) for what, own in like.items()}
