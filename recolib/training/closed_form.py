"""What is solved for instead of trained: the weights from item to item that explain best what users consumed."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recolib.nn.components.item_to_item import ItemToItem

MAX_ITEMS = 50_000
"""Items up to which a table is solved for: the matrix to invert has as many rows and columns, 10 GB of float32."""
IN_FLOAT64 = 10_000
"""Items up to which it is inverted in float64."""


def item_to_item(consumed: sparse.csr_array, l2: float) -> Tensor:
    r"""B of the closed form of EASE, (M, M).

    .. math:: \min_B \|X - XB\|^2 + λ \|B\|^2 \text{ with } B_{jj} = 0, \quad
              B_{ij} = -P_{ij} / P_{jj}, \quad P = (X^T X + λ I)^{-1}

    Parameters
    ----------
    consumed
        X, a row for each user and a column for each item: 1 where the user consumed it.
    l2
        λ.

    Raises
    ------
    ValueError
        If there are more than 50,000 items.

    References
    ----------
    Steck, *Embarrassingly Shallow Autoencoders for Sparse Data*, WWW 2019.
    """
    _, n_items = cast("tuple[int, int]", consumed.shape)
    if n_items > MAX_ITEMS:
        raise ValueError(
            f"{n_items} items are too many for weights from item to item, which have a matrix of {n_items} rows and "
            f"columns: up to {MAX_ITEMS} are possible; leave rare items out, or train without item_to_item"
        )
    dtype = torch.float64 if n_items <= IN_FLOAT64 else torch.float32
    gram = torch.from_numpy((consumed.T @ consumed).toarray()).to(dtype)
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse.div_(-inverse.diagonal().clone())  # column j by P[j, j]
    return weights.fill_diagonal_(0.0).float()


@torch.no_grad()
def fill(component: ItemToItem, weights: Tensor, codes: np.ndarray) -> None:
    """Put the weights (M, M) of items with some codes (M,) into a component."""
    at = torch.from_numpy(codes).long()
    component.values.zero_()
    if component.is_dense:
        component.values[at.unsqueeze(1), at] = weights.to(component.values)
        return
    _, best = weights.abs().topk(min(component.values.shape[1], len(at)), 1)
    component.columns.zero_()
    component.values[at, : best.shape[1]] = weights.gather(1, best).to(component.values)
    component.columns[at, : best.shape[1]] = at[best].to(component.columns)
