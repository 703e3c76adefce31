"""Losses of user rows against a catalogue: scores (G, n) with all items, or those drawn, and which are positive."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from recolib.nn.blocks import at_once


@dataclass(frozen=True, eq=False)
class Positives:
    """The positives of some user rows.

    Attributes
    ----------
    rows, columns
        The user row and the item of each, as a row and a column of the scores, (P,).
    weights
        How much each counts, (P,); None where all count alike.
    rates
        How likely each column's item was to be among those drawn for the batch, (n,); None where all items are there.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor | None = None
    rates: Tensor | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows)

    def of(self, part: slice) -> Positives:
        """Those of some of the user rows, which count from 0 then."""
        first, last = torch.searchsorted(self.rows, self.rows.new_tensor([part.start, part.stop])).tolist()
        weights = None if self.weights is None else self.weights[first:last]
        return Positives(self.rows[first:last] - part.start, self.columns[first:last], weights, self.rates)


CatalogueLoss = Callable[[Tensor, Positives], Tensor]
"""Scores (G, n) of user rows with all items, or those drawn, and which are positive -> the mean over the positives."""

NUMBERS_AT_ONCE = 2**19
"""Scores that are held at once where not all are made, 2 MB."""
LEVEL = 0.1
"""How much the level of a row's scores counts in ``softmax``, which alone would leave it open."""


def softmax(scores: Tensor, positives: Positives) -> Tensor:
    """Mean of −log of the positive's share of a softmax over all items: the exact multinomial likelihood.

    A constant added to a row changes nothing of it. A small second term, the square of the row's log Σ exp less the log
    of the number of items, sets this constant: σ(score) is then the probability that the item is the positive one of
    two, itself and a random one. Rows have weights of their own that can follow it, so that lists stay what they were.

    References
    ----------
    Liang et al., *Variational Autoencoders for Collaborative Filtering*, WWW 2018; the second term as in Devlin et al.,
    *Fast and Robust Neural Network Joint Models for Statistical Machine Translation*, ACL 2014; corrections for drawn
    items as in Bengio and Senécal, *Adaptive Importance Sampling*, IEEE Transactions on Neural Networks 2008.
    """
    own = scores[positives.rows, positives.columns]
    if positives.rates is None:
        n_items = float(scores.shape[1])
        total = scores.logsumexp(1)
    else:  # each drawn item stands for as many as were not drawn; a row's own positives are there in any case
        n_items = float((1 / positives.rates).sum())
        correction = -positives.rates.log().expand(scores.shape)
        correction = correction.index_put((positives.rows, positives.columns), correction.new_zeros(()))
        total = (scores + correction).logsumexp(1)
    level = (total - math.log(n_items)).square()
    return _mean((total + LEVEL * level)[positives.rows] - own, positives)


def softmax_of_vectors(users: Tensor, items: Tensor, positives: Positives) -> Tensor:
    """``softmax`` of scores that are inner products of vectors (G, V) and (n, V), and are never there all at once."""
    return cast("Tensor", _SoftmaxOfVectors.apply(users, items, positives))


class _SoftmaxOfVectors(torch.autograd.Function):
    """The loss and its gradients, by blocks of rows whose scores stay in the cache."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, positives: Positives) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The loss."""
        rates, n = positives.rates, len(positives)
        weights = users.new_ones(n) if positives.weights is None else positives.weights
        of_rows = users.new_zeros(len(users)).index_add_(0, positives.rows, weights)
        log_rates = None if rates is None else rates.log()
        n_items = math.log(len(items)) if rates is None else float((1 / rates).sum().log())
        of_users, of_items = torch.empty_like(users), torch.zeros_like(items)
        size = max(16, at_once(NUMBERS_AT_ONCE, users.device) // max(1, len(items)))
        starts = [*range(0, len(users), size), len(users)]
        bounds = torch.searchsorted(positives.rows, positives.rows.new_tensor(starts)).tolist()
        room = users.new_empty(min(size, len(users)), len(items))
        loss = users.new_zeros((), dtype=torch.float64)
        for start, stop, first, last in zip(starts, starts[1:], bounds, bounds[1:], strict=False):
            rows, columns = positives.rows[first:last] - start, positives.columns[first:last]
            block, scores = users[start:stop], room[: stop - start]
            torch.mm(block, items.T, out=scores)
            own = scores[rows, columns]
            if log_rates is not None:
                scores -= log_rates
                scores.index_put_((rows, columns), own)
            highest = scores.amax(1, keepdim=True)
            shares = scores.sub_(highest).exp_()
            sums = shares.sum(1)
            total = sums.log() + highest.squeeze(1)
            above, times, each = total - n_items, of_rows[start:stop], weights[first:last]
            loss += ((total + LEVEL * above.square()) * times).sum() - (own * each).sum()
            slopes = shares.mul_((times * (1 + 2 * LEVEL * above) / sums).unsqueeze(1))
            slopes.index_put_((rows, columns), -each, accumulate=True)
            torch.mm(slopes, items, out=of_users[start:stop])
            of_items.addmm_(slopes.T, block)
        ctx.save_for_backward(of_users.div_(n), of_items.div_(n))
        return (loss / n).to(users.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of both sides' vectors."""
        of_users, of_items = ctx.saved_tensors
        return of_users * gradient, of_items * gradient, None


def cross_entropy(scores: Tensor, positives: Positives) -> Tensor:
    """Mean binary cross-entropy of each positive beside the mean over the other items.

    It has the expectation of one random negative for each positive, without its noise.
    """
    own = scores[positives.rows, positives.columns]
    if positives.rates is None:
        others = (F.softplus(scores).sum(1)[positives.rows] - F.softplus(own)) / (scores.shape[1] - 1)
    else:
        stands_for, too_many, softplus = 1 / positives.rates, _too_many(positives, positives.rates), F.softplus(own)
        total = (F.softplus(scores) @ stands_for).index_add(0, positives.rows, -softplus * too_many)
        n_items = stands_for.sum().expand(len(scores)).index_add(0, positives.rows, -too_many)
        others = (total[positives.rows] - softplus) / (n_items[positives.rows] - 1)
    return _mean(0.5 * (F.softplus(-own) + others), positives)


@dataclass(frozen=True)
class Implicit:
    """Squared error of every pair: positives are 1, and all pairs are 0 with a small weight.

    Where scores are inner products, the sum of all their squares follows from two small matrices, Σ u uᵀ and Σ v vᵀ:
    no score is made but those of the positives.

    Parameters
    ----------
    weight
        How much a pair counts beside a positive.

    References
    ----------
    Hu et al., *Collaborative Filtering for Implicit Feedback Datasets*, ICDM 2008; the form of Rendle et al., *iALS++*,
    2021; the sum of squares as in Bayer et al., *A Generic Coordinate Descent Framework for Learning from Implicit
    Feedback*, WWW 2017.
    """

    weight: float

    def __call__(self, scores: Tensor, positives: Positives) -> Tensor:
        """The loss of scores (G, n)."""
        squares = scores.square()
        squares = squares.sum() if positives.rates is None else (squares @ (1 / positives.rates)).sum()
        return self._of(scores[positives.rows, positives.columns], squares, positives)

    def of_vectors(self, users: Tensor, items: Tensor, positives: Positives) -> Tensor:
        """The loss of scores that are the inner products of vectors (G, V) and (n, V)."""
        own = (users.index_select(0, positives.rows) * items.index_select(0, positives.columns)).sum(-1)
        stand_for = items if positives.rates is None else items / positives.rates.unsqueeze(-1)
        return self._of(own, ((users.T @ users) * (items.T @ stand_for)).sum(), positives)

    def _of(self, own: Tensor, squares: Tensor, positives: Positives) -> Tensor:
        if positives.rates is not None:
            squares = squares - (own.square() * _too_many(positives, positives.rates)).sum()
        return _mean((1 - own).square(), positives) + self.weight * squares / len(positives)


def _mean(losses: Tensor, positives: Positives) -> Tensor:
    return losses.mean() if positives.weights is None else (losses * positives.weights).mean()


IMPLICIT = "implicit"
CATALOGUE_LOSSES = ("softmax", "cross_entropy", IMPLICIT)
"""The names of all."""


def catalogue_loss(name: str, unobserved_weight: float) -> CatalogueLoss:
    """A loss by its name."""
    losses: dict[str, CatalogueLoss] = {"softmax": softmax, "cross_entropy": cross_entropy}
    return Implicit(unobserved_weight) if name == IMPLICIT else losses[name]


def _too_many(positives: Positives, rates: Tensor) -> Tensor:
    """For how many items too many each positive stands: a row's own are there in any case, and stand for themselves."""
    pairs = positives.rows * len(rates) + positives.columns
    _, pair, times = pairs.unique(return_inverse=True, return_counts=True)
    return (1 / rates[positives.columns] - 1) / times[pair]
