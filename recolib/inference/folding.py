"""Folding in: users' vectors from a few interactions that training did not see."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.encoding import blank_rows
from recolib.data.info import DataInfo
from recolib.data.rows import AVERAGE, UNKNOWN, Codes, Rows
from recolib.inference.scoring import Encoded, encode_rows, pairs_per_block
from recolib.nn.fields import Fields
from recolib.nn.network import Network, NetworkState

ItemStates = Callable[[Codes], NetworkState]
"""From codes of items to their states."""
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (U, D) -> values (U,) and gradients (U, D)."""

HEAD = TAIL = 512
"""A user's items are set against the most popular ones, and of the others against as many, evenly spaced by rank."""
USERS, DIRECTIONS, SMALLEST = 1024, 128, 1e-6
"""The covariance is of so many users, in at most so many directions, the least as a share of the first."""
MAX_STEPS, MAX_HALVINGS = 50, 12
GRAD_TOL = 1e-3
"""Norm of the gradient below which a fit ends, per standard deviation of the users."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items that a user's own are set against, each for some.

    Attributes
    ----------
    states
        Theirs, (n, …).
    codes
        Which they are, ascending, (n,).
    log_shares
        The log of how many items each stands for, (n,).
    """

    states: NetworkState
    codes: Codes
    log_shares: Tensor

    @classmethod
    def of(cls, info: DataInfo, items: ItemStates, own: Codes, device: torch.device) -> Catalogue:
        """Items that stand for all that were trained, and the users' ``own``."""
        order = info.ranked_items[np.isin(info.ranked_items, info.trained_items)]
        single = np.union1d(order[:HEAD], own)
        others = order[~np.isin(order, single)]
        step = max(1, -(-len(others) // TAIL))
        sampled = others[step // 2 :: step]
        codes = np.concatenate([single, sampled])
        shares = np.repeat([1.0, len(others) / max(1, len(sampled))], [len(single), len(sampled)])
        up = np.argsort(codes)
        codes = codes[up].astype(np.int32)
        log_shares = torch.from_numpy(np.log(shares[up])).to(device, torch.float32)
        return cls(items(codes).map(torch.clone), codes, log_shares)  # those of inference mode take no gradients

    def in_history(self, histories: Sequence[Codes]) -> Tensor:
        """Which of the items each history has, 1 or 0, (U, n)."""
        return torch.from_numpy(np.stack([np.isin(self.codes, history) for history in histories])).to(self.log_shares)


@torch.no_grad()
def fold_in(
    network: Network,
    info: DataInfo,
    items: ItemStates,
    users: Rows,
    histories: Sequence[Codes],
    prior_weight: NDArray[np.floating],
    history_weight: float,
) -> Encoded:
    r"""The states of users with items that training did not see them with, from a short fit of each user's own numbers.

    A user's own numbers r are the vector and the linear weight of their id, and of those other columns in which they
    are unknown. They move to where the Gaussian of the trained users and the user's history H agree best:

    .. math:: \min_r \; -\beta \sum_{i \in H} \log \frac{e^{s_i(r)}}{\sum_j e^{s_j(r)}}
              + \frac{c}{2} (r - \mu)^T \Sigma^{-1} (r - \mu)

    μ is what the user is scored from without a history, Σ the covariance of the trained users' r, and j goes through
    the catalogue. The scores s(r) are the network's, with all its weights frozen. The steps are BFGS in coordinates
    where Σ is the unit matrix, for all users at once.

    Parameters
    ----------
    network, info
        The network and its data.
    items
        What gives the states of some items.
    users
        Rows of the user's side with the context, (U, C).
    histories
        Codes of each user's items, each once; a user without any stays where they are.
    prior_weight
        c, (U,).
    history_weight
        β; see ``choose_history_weight``.

    References
    ----------
    Salakhutdinov and Mnih, *Probabilistic Matrix Factorization*, NIPS 2007: the Gaussian of the users. Liang et al.,
    *Variational Autoencoders for Collaborative Filtering*, WWW 2018: the multinomial likelihood. Bissiri et al.,
    *A General Framework for Updating Belief Distributions*, JRSS B 2016: its power β.
    """
    has_any = np.array([len(history) > 0 for history in histories])
    with_history, others = np.flatnonzero(has_any), np.flatnonzero(~has_any)
    parts = [encode_rows(network, "user", users[torch.from_numpy(others)])] if len(others) else []
    order = [others]
    if len(with_history):
        own = np.concatenate([histories[at] for at in with_history.tolist()])
        catalogue = Catalogue.of(info, items, own, network.device)
        size = max(1, pairs_per_block(network) // len(catalogue.codes))
        for is_unknown, alike in _by_unknown_columns(users, with_history):
            spread = spread_of(network, info, is_unknown)
            for start in range(0, len(alike), size):
                at = alike[start : start + size]
                in_history = catalogue.in_history([histories[one] for one in at.tolist()])
                weight = torch.from_numpy(prior_weight[at]).to(spread).unsqueeze(1)
                rows = users[torch.from_numpy(at)].to(network.device)
                parts.append(_folded(network, catalogue, rows, history_weight * in_history, spread, weight))
                order.append(at)
    place = np.argsort(np.concatenate(order))
    return Encoded(NetworkState.cat(parts), torch.from_numpy(place).to(network.device))


def _by_unknown_columns(
    users: Rows, with_history: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Groups of users with the same unknown columns, and which columns these are, (C,)."""
    is_unknown = np.isin(users.codes.numpy()[with_history], (UNKNOWN, AVERAGE))
    patterns, which = np.unique(is_unknown, axis=0, return_inverse=True)
    return ((pattern, with_history[which.reshape(-1) == number]) for number, pattern in enumerate(patterns))


@torch.no_grad()
def spread_of(network: Network, info: DataInfo, is_unknown: NDArray[np.bool_]) -> Tensor:
    """How trained users differ in columns that are not known: a root S of the covariance S·Sᵀ, (F, K+1, R).

    Parameters
    ----------
    network, info
        The network and its data.
    is_unknown
        Which columns of codes of the user's side, (C,). That of the id counts as one, those of the context do not.

    Returns
    -------
    Tensor
        The R directions in which vectors and linear weights of the F fields vary most, each as long as one standard
        deviation; zero in fields that are known.
    """
    table = info.users.current
    trained = table.codes[:, 0].nonzero().squeeze(1)
    rows = table[trained[:: max(1, -(-len(trained) // USERS))]]
    varying = torch.from_numpy(is_unknown[: table.codes.shape[1]].copy())
    varying[0] = True
    rows = Rows(torch.where(varying, rows.codes, UNKNOWN), torch.zeros_like(rows.dense))
    fields = network.user(rows.join(blank_rows(info.schema, "context", len(rows))).to(network.device))
    own = torch.cat([fields.vectors, fields.weights.unsqueeze(-1)], -1).double()
    centred = (own - own.mean(0)).flatten(1) / max(1, len(own) - 1) ** 0.5
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    n = max(1, min(DIRECTIONS, int((sizes > SMALLEST * sizes[0]).sum())))
    return (directions[:n].T * sizes[:n]).to(fields.vectors.dtype).view(*own.shape[1:], n)


def _folded(
    network: Network, catalogue: Catalogue, users: Rows, weights: Tensor, spread: Tensor, prior_weight: Tensor
) -> NetworkState:
    """The states of users whose own numbers are moved to where they explain their histories, (U, …).

    The items of these weigh (U, n).
    """
    fields = network.user(users[:, None])
    total = weights.sum(1)

    def encode(point: Tensor) -> NetworkState:
        by = torch.einsum("fkr,ur->ufk", spread, point / prior_weight.sqrt()).unsqueeze(1)
        moved = Fields(fields.vectors + by[..., :-1], fields.weights + by[..., -1], fields.present)
        return network.encode_fields("user", moved)

    @torch.enable_grad()
    def objective(point: Tensor) -> tuple[Tensor, Tensor]:
        point = point.detach().requires_grad_()
        scores = network.score(encode(point), catalogue.states[None])
        nll = total * (scores + catalogue.log_shares).logsumexp(1) - (scores * weights).sum(1)
        value = nll + 0.5 * point.square().sum(1)
        (slope,) = torch.autograd.grad(value.sum(), point)
        return value.detach(), slope

    best = minimise(objective, spread.new_zeros(len(users), spread.shape[-1]))
    return encode(best).map(lambda state: state.squeeze(1))


def minimise(objective: Objective, point: Tensor) -> Tensor:
    """Where each of U functions is least, from ``point`` (U, D) on, by BFGS with steps that are halved until they help.

    References
    ----------
    Nocedal and Wright, *Numerical Optimization*, 2nd edition, algorithm 6.1.
    """
    inverse = torch.eye(point.shape[1]).to(point).repeat(len(point), 1, 1)
    value, slope = objective(point)
    is_open = slope.norm(dim=1) > GRAD_TOL
    for _ in range(MAX_STEPS):
        if not is_open.any():
            break
        direction = -(inverse @ slope.unsqueeze(-1)).squeeze(-1) * is_open.unsqueeze(1)
        trial, new_value, new_slope, helps = _step(objective, point, direction, value, slope)
        moved, change = trial - point, new_slope - slope
        curvature = (moved * change).sum(1)
        ratio = torch.where(helps & (curvature > 1e-10), 1 / curvature, 0.0).unsqueeze(1)
        turned = (inverse @ change.unsqueeze(-1)).squeeze(-1)
        along = 0.5 * (1 + ratio * (turned * change).sum(1, keepdim=True)) * moved - turned
        inverse += (ratio * along).unsqueeze(2) * moved.unsqueeze(1) + moved.unsqueeze(2) * (ratio * along).unsqueeze(1)
        point, slope = (torch.where(helps.unsqueeze(1), *both) for both in ((trial, point), (new_slope, slope)))
        value = torch.where(helps, new_value, value)
        is_open &= helps & (slope.norm(dim=1) > GRAD_TOL)
    return point


def _step(
    objective: Objective, point: Tensor, direction: Tensor, value: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points along the directions, their values and gradients, and whether they are lower as is to be expected."""
    expected, noise = 1e-4 * (slope * direction).sum(1), 1e-6 * value.abs()  # float32 sees no less
    length = torch.ones_like(value)
    for halvings in itertools.count():
        trial = point + length.unsqueeze(1) * direction
        new_value, new_slope = objective(trial)
        helps = new_value <= value + length * expected + noise
        if helps.all() or halvings == MAX_HALVINGS:
            return trial, new_value, new_slope, helps
        length = torch.where(helps, length, length / 2)
    raise AssertionError
