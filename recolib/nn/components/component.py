"""The two-sided interface that every term of a score has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from recolib.nn.fields import Fields, NetworkSide, State
from recolib.nn.past import PastItems
from recolib.nn.products import N_MULTIPLIED, linear

S = TypeVar("S", bound=State)


@dataclass(frozen=True, eq=False)
class InnerProduct(State):
    """One side's part of a term that is user.vector · item.vector + user.constant + item.constant.

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
    """A term as a sum over single fields and pairs of fields; a part that the term does not have is None.

    Attributes
    ----------
    constant
        A number that does not depend on the fields.
    alone
        The contribution of each position, (..., F).
    pairs
        The contribution of each two positions i < j, (..., F, F), zero elsewhere.
    """

    constant: Tensor | None = None
    alone: Tensor | None = None
    pairs: Tensor | None = None


class Component(nn.Module, Generic[S]):
    """A term of a network's score, cut in two.

    ``encode`` computes what depends on one side alone, once per user and once per item; ``score`` joins the two states
    of a pair. Batch norm and dropout of anything that depends on both sides belong in ``score``, where they see what
    an uncut computation would see.

    Attributes
    ----------
    made_of_pairs
        Whether the term is made of products of pairs of fields, so that vectors trained in such products suit it.
    reads_past
        Whether the term is of what the user consumed. ``encode_user`` and ``encode_item`` then stand for ``encode``.
    is_solved
        Whether the term's weights are solved for, so that training leaves it out.
    in_one_pass
        Whether the user's states after each of their items come from one pass, so that training has them all.
    """

    made_of_pairs: ClassVar[bool] = False
    reads_past: ClassVar[bool] = False
    is_solved: ClassVar[bool] = False
    in_one_pass: ClassVar[bool] = False

    @property
    def trains_as_product(self) -> bool:
        """Whether ``inner_product`` holds of the states of training, too."""
        return False

    @property
    def numbers_per_pair(self) -> int:
        """About how many numbers ``score`` holds for each pair at once: the width of its widest layer."""
        return 128

    def begin_batch(self) -> None:
        """Make the random draws that both sides of a training batch share; called before the batch is encoded."""

    def penalty(self) -> Tensor | float:
        """A penalty on the component's own weights, which is added to the loss."""
        return 0.0

    def pair_factors(self) -> tuple[Tensor, Tensor] | None:
        """Factors (K,) and a constant c, if in evaluation the term is Σ_{i<j} factors · (e_i ∘ e_j) + c; else None."""
        return None

    def start_at_zero(self) -> None:
        """Start with an output of zero, where that leaves the other weights to learn; by default as it is."""

    def start_as_pairs(self, factors: Tensor) -> bool:
        """Set the weights so that the network starts with the scores Σ_{i<j} factors · (e_i ∘ e_j).

        Parameters
        ----------
        factors
            Shape (K,).

        Returns
        -------
        bool
            Whether this component now applies the factors; else they must go into the vectors.
        """
        return False

    def encode(self, side: NetworkSide, fields: Fields) -> S:
        """The state of a side's fields (..., F, K): all that ``score`` needs of them."""
        raise NotImplementedError

    def encode_user(self, fields: Fields, past: PastItems) -> S:
        """The state of a user's fields and of what they consumed."""
        return self.encode("user", fields)

    def encode_item(self, fields: Fields, codes: Tensor) -> S:
        """The state of an item's fields (..., F, K) and of its id, by code (...)."""
        return self.encode("item", fields)

    def to_bf16(self, state: S) -> S:
        """A state of evaluation, with the tensors that only a perceptron reads in bfloat16; by default none."""
        return state

    def score(self, user: S, item: S) -> Tensor:
        """The term of each pair, (B, n), from states of users (B, 1, …) and items (B or 1, n, …)."""
        raise NotImplementedError

    def inner_product(self, side: NetworkSide, state: S) -> InnerProduct | None:
        """A side's part of the term, if in evaluation that is an inner product of both sides' parts; else None."""
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

    A catalogue that all users share is one matrix product. Items of each user's own are multiplied and summed, which
    is faster than many tiny matrix products.
    """
    if item.shape[0] == 1:
        users, catalogue, device = user.squeeze(1), item.squeeze(0).T, user.device.type
        if not torch.is_autocast_enabled(device):
            return users @ catalogue
        with torch.autocast(device, enabled=False):  # which would round inner products to bfloat16
            return users @ catalogue
    return torch.sum(user * item, -1)


def linear_of_products(user: Tensor, item: Tensor, weight: Tensor) -> Tensor:
    """W (u ∘ v) of each pair of user vectors (B, 1, K) and item vectors (B or 1, n, K), shape (B, n, H).

    For a catalogue the user is folded into the weight (H, K).
    """
    if item.shape[0] > 1:
        return linear(user * item, weight)
    folded = weight * user
    if torch.is_grad_enabled() or item.numel() * len(weight) < N_MULTIPLIED:
        return item @ folded.mT
    products = [linear(item, one) for one in folded]
    return products[0] if len(products) == 1 else torch.cat(products)


def cross_fields(user: Tensor, item: Tensor, matrix: Tensor) -> Tensor:
    """M (u_i ∘ v_j) of all pairs of a user's and an item's fields, for a catalogue.

    The user is folded into the matrices, so that each field of the catalogue takes one matrix product.

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
