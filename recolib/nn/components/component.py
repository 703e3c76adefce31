"""The two-sided interface that every term of a score has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.nn.fields import Fields, NetworkSide, State

S = TypeVar("S", bound=State)


@dataclass(frozen=True, eq=False)
class InnerProduct(State):
    """A side's part of a score that is user.vector · item.vector + user.constant + item.constant.

    Attributes
    ----------
    vector
        Shape (..., V).
    constant
        Shape (...).
    """

    vector: Tensor
    constant: Tensor


@dataclass(frozen=True, eq=False)
class Contributions:
    """A term as a sum of what the fields of both sides add alone and in pairs.

    Attributes
    ----------
    constant
        What is added whatever the fields are, a number; None is nothing.
    alone
        What each position adds, (..., F); None where the term has nothing of the kind.
    pairs
        What positions i < j add together, (..., F, F), zero elsewhere; None likewise.
    """

    constant: Tensor | None = None
    alone: Tensor | None = None
    pairs: Tensor | None = None


class Component(nn.Module, Generic[S]):
    """A term of a network's score, cut in two.

    ``encode`` does what depends on one side alone, once per user and once per item; ``score`` joins the
    two states of a pair. Batch norm and dropout of what both sides make belong in ``score``, where they
    see what an uncut computation would see.
    """

    @property
    def numbers_per_pair(self) -> int:
        """How many numbers ``score`` holds of a pair at once, about: the width of its widest layer."""
        return 128

    def begin_batch(self) -> None:
        """Called before a training batch is encoded: draws that both sides share happen here."""

    def penalty(self) -> Tensor | float:
        """What the component adds to the loss to hold its own weights down."""
        return 0.0

    def start_as_fm(self, scale: Tensor) -> bool:
        """Start as the pairs Σ scale · e_i ∘ e_j of a factorization machine; whether the scale is taken care of.

        Parameters
        ----------
        scale
            What each element of the pairs' products counts, (K,).
        """
        return False

    def encode(self, side: NetworkSide, fields: Fields) -> S:
        """What to keep of a side's fields (..., F, K)."""
        raise NotImplementedError

    def to_bf16(self, state: S) -> S:
        """A state of evaluation with that in bfloat16 which a perceptron will read; by default all as it is."""
        return state

    def score(self, user: S, item: S) -> Tensor:
        """The term of each pair, shape (B, n), from states of users (B, 1, …) and items (B or 1, n, …)."""
        raise NotImplementedError

    def inner_product(self, side: NetworkSide, state: S) -> InnerProduct | None:
        """A side's part of the term in evaluation, if that is an inner product of both sides' parts; else None."""
        return None

    def contributions(self, fields: Fields) -> Contributions | None:
        """The term in evaluation as a sum over the fields (..., F, K) of both sides, the user's first; else None."""
        return None


class Joined(Component[Fields]):
    """A component that cannot be cut: its ``forward`` sees the fields of both sides, (B, n, F, K) -> (B, n)."""

    def encode(self, side: NetworkSide, fields: Fields) -> Fields:
        """The fields themselves."""
        return fields

    def score(self, user: Fields, item: Fields) -> Tensor:
        """``forward`` of both sides' fields, user's first."""
        return self(user.join(item))


def cross(user: Tensor, item: Tensor) -> Tensor:
    """Inner products of user vectors (B, 1, K) and item vectors (B or 1, n, K), shape (B, n).

    The one place that knows that a catalogue is a matrix product, and a few items of one's own are a
    product and a sum, which is faster than many tiny matrix products.
    """
    if item.shape[0] == 1:
        users, catalogue, device = user.squeeze(1), item.squeeze(0).T, user.device.type
        if not torch.is_autocast_enabled(device):
            return users @ catalogue
        with torch.autocast(device, enabled=False):  # which would round what may be most of a score
            return users @ catalogue
    return torch.sum(user * item, -1)


def linear_of_products(user: Tensor, item: Tensor, weight: Tensor) -> Tensor:
    """W (u ∘ v) of each pair of user vectors (B, 1, K) and item vectors (B or 1, n, K), shape (B, n, H).

    For a catalogue the user is folded into the weight (H, K).
    """
    if item.shape[0] == 1:
        return item @ (weight * user).mT
    return F.linear(user * item, weight)


def cross_fields(user: Tensor, item: Tensor, matrix: Tensor) -> Tensor:
    """M (u_i ∘ v_j) of all pairs of a user's and an item's fields, for a catalogue.

    The user is folded into the matrices, and the catalogue goes through one product a field of its own.

    Parameters
    ----------
    user, item
        Shapes (B, 1, Fu, K) and (1, n, Fi, K).
    matrix
        M of each pair, (Fi or 1, Fu or 1, R, K).

    Returns
    -------
    Tensor
        Shape (B, n, Fi, Fu, R).
    """
    folded = (user.unsqueeze(-3).unsqueeze(-2) * matrix).flatten(-3, -2).squeeze(1)  # (B, Fi or 1, Fu·R, K)
    crossed = item.transpose(1, 2) @ folded.mT  # (B, Fi, n, Fu·R)
    return crossed.transpose(1, 2).unflatten(-1, (user.shape[-2], -1))
