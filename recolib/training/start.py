"""Where linear weights start: at what counting gives, so that training begins where popularity and biases end."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.interactions import Interactions
from recolib.nn.components.linear import Linear
from recolib.nn.embedding import FieldEmbedding
from recolib.nn.network import Network
from recolib.training.catalogue import distinct_rows

Counts = NDArray[np.floating]
SHRINK = 0.5, 100.0
"""The fewest and the most rows of the mean that are added to those of an id."""


@torch.no_grad()
def start_from_counts(network: Network, data: Interactions, task: str, num_neg: int | None) -> None:
    """Start w0 and the linear weights of the ids at what the labels of a new network's training rows say.

    For ratings these are the mean and the biases of items and users. For labels of 0 and 1 they are log-odds. Where
    each row is a positive, and stands against ``num_neg`` random items, they are how much likelier the item is among
    the positives. Perceptrons start at zero, so that these are the score. A network without a first-order term is left
    as it is.
    """
    if not any(isinstance(term, Linear) for term in network.terms):
        return
    for term in network.terms:
        term.start_at_zero()
    if num_neg is not None:
        network.bias.fill_(-float(np.log(max(1, num_neg))))
        _put(network.item, log_shares(data))
        return
    users, items, weights = data.user_indices, data.item_indices, _weights(data)
    if task == "rating":
        mean, of_users, of_items = biases(users, items, data.labels, weights)
    else:
        mean, of_users, of_items = log_odds(users, items, data.labels, weights)
    network.bias.fill_(mean)
    _put(network.user, of_users)
    _put(network.item, of_items)


@torch.no_grad()
def start_from_shares(network: Network, data: Interactions, unobserved_weight: float) -> None:
    """Start the items' linear weights where squared error of every pair has them if nothing else is known.

    A pair of a user row and an item is 1 if it is positive, and 0 with the weight of what was not observed.
    """
    if not any(isinstance(term, Linear) for term in network.terms):
        return
    for term in network.terms:
        term.start_at_zero()
    counts = np.bincount(data.item_indices, _weights(data), data.data_info.n_items + 1)
    n_rows = len(distinct_rows(data)[0])
    _put(network.item, counts / np.maximum(counts + unobserved_weight * n_rows, 1e-9))


def log_shares(data: Interactions) -> Counts:
    """The log of each item's share of the rows times the number of items, by code; one row is added to each."""
    trained = data.data_info.trained_items
    counts = np.bincount(data.item_indices, _weights(data), data.data_info.n_items + 1)[trained] + 1.0
    shares = np.zeros(data.data_info.n_items + 1)
    shares[trained] = np.log(counts / counts.sum() * len(trained))
    return shares


def biases(
    users: NDArray[np.int32], items: NDArray[np.int32], labels: NDArray[np.float32], weights: Counts
) -> tuple[float, Counts, Counts]:
    """The mean label, and how far above it users and items are, by code; fewer rows are shrunk more.

    References
    ----------
    Koren, *Factor in the Neighbors*, ACM Transactions on Knowledge Discovery from Data 2010, section 2.1.
    """
    mean = float(np.average(labels, weights=weights))
    of_items = _shrunk(items, labels - mean, weights)
    return mean, _shrunk(users, labels - mean - of_items[items], weights), of_items


def log_odds(
    users: NDArray[np.int32], items: NDArray[np.int32], labels: NDArray[np.float32], weights: Counts
) -> tuple[float, Counts, Counts]:
    """The log-odds of a label of 1, and how far above them those of users and items are, as in ``biases``."""
    share = float(np.clip(np.average(labels, weights=weights), 1e-3, 1 - 1e-3))
    base = float(np.log(share / (1 - share)))
    of_items, of_users = (_logit(share + _shrunk(codes, labels - share, weights)) - base for codes in (items, users))
    return base, of_users, of_items


def _weights(data: Interactions) -> Counts:
    """How much each row counts beside the others, with mean 1."""
    return data.weights / data.weights.mean(dtype=np.float64)


def _shrunk(codes: NDArray[np.int32], values: Counts, weights: Counts) -> Counts:
    """The mean value of each code, with as many zeros added as one row's variance is times that of the codes' means.

    Both variances are estimated from the values, so that data with little noise is shrunk little.
    """
    counts = np.bincount(codes, weights)
    means = np.bincount(codes, weights * values) / np.maximum(counts, 1e-9)
    n_codes, n_rows = np.count_nonzero(counts), counts.sum()
    within = float((weights * (values - means[codes]) ** 2).sum()) / max(1.0, n_rows - n_codes)
    between = (float((counts * means**2).sum()) - n_codes * within) / n_rows
    added = float(np.clip(within / max(between, 1e-9), *SHRINK))
    return means * counts / (counts + added)


def _logit(shares: Counts) -> Counts:
    shares = np.clip(shares, 1e-3, 1 - 1e-3)
    return np.log(shares / (1 - shares))


def _put(embedding: FieldEmbedding, values: Counts) -> None:
    """Start the linear weights of the id's codes 0, 1, … at these values.

    Ids without events at the end of all have no weight.
    """
    weight = embedding.weights.weight[embedding.id_rows, 0]
    values = values[: len(weight)]
    weight[: len(values)] = torch.from_numpy(values).to(weight)
