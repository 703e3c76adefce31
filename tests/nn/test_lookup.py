from __future__ import annotations

import pytest
import torch
from torch import nn

from recolib.nn.lookup import lookup

N_ROWS, DIM = 6, 3


@pytest.fixture
def tables() -> tuple[nn.Embedding, nn.Embedding]:
    torch.manual_seed(0)
    return nn.Embedding(N_ROWS, DIM), nn.Embedding(N_ROWS, 1)


AT = torch.tensor([[1, 4, 4], [0, 1, 4]])  # row 4 three times


def pulled(tables: tuple[nn.Embedding, nn.Embedding], at: torch.Tensor, decay: torch.Tensor | float = 0.0) -> None:
    """Backward from a sum of what was looked up, each number with a weight of its own."""
    vectors, weights = lookup(*tables, at, decay)
    torch.manual_seed(1)
    (vectors * torch.randn(vectors.shape)).sum().add((weights * torch.randn(weights.shape)).sum()).backward()


def by_torch(tables: tuple[nn.Embedding, nn.Embedding], at: torch.Tensor) -> list[torch.Tensor]:
    """The same gradients by torch's own embeddings."""
    torch.manual_seed(1)
    vectors, weights = (nn.functional.embedding(at, table.weight) for table in tables)
    total = (vectors * torch.randn(vectors.shape)).sum() + (weights.squeeze(-1) * torch.randn(at.shape)).sum()
    return list(torch.autograd.grad(total, [table.weight for table in tables]))


@pytest.mark.parametrize("at", [AT, AT[0], torch.empty(2, 0, dtype=torch.int64)])
@pytest.mark.parametrize("grad", [True, False])
def test_rows_are_those_of_the_tables(tables, at, grad):
    with torch.set_grad_enabled(grad):
        vectors, weights = lookup(*tables, at)
    assert vectors.shape == (*at.shape, DIM)
    assert torch.equal(vectors, tables[0].weight[at])
    assert torch.equal(weights, tables[1].weight[at, 0])


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_those_of_torch(tables, sparse):
    for table in tables:
        table.sparse = sparse
    pulled(tables, AT)
    for table, expected in zip(tables, by_torch(tables, AT), strict=True):
        assert table.weight.grad.is_sparse == sparse
        torch.testing.assert_close(table.weight.grad.to_dense(), expected)


def test_gradients_that_are_there_are_added_to_in_place(tables):
    expected = by_torch(tables, AT)
    for table in tables:
        table.weight.grad = torch.ones_like(table.weight)
    before = [table.weight.grad for table in tables]
    pulled(tables, AT)
    for table, own, gradient in zip(tables, before, expected, strict=True):
        assert table.weight.grad is own
        torch.testing.assert_close(own, gradient + 1)


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_frozen_table_gets_none(tables, frozen, sparse):
    for table in tables:
        table.sparse = sparse
    tables[frozen].weight.requires_grad_(False)
    other = 1 - frozen
    pulled(tables, AT)
    assert tables[frozen].weight.grad is None
    torch.testing.assert_close(
        tables[other].weight.grad.to_dense(),
        by_torch_of(tables, other),
    )


def by_torch_of(tables: tuple[nn.Embedding, nn.Embedding], which: int) -> torch.Tensor:
    for table in tables:
        table.weight.requires_grad_(True)
    return by_torch(tables, AT)[which]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("one_each", [False, True])
def test_decay_is_the_gradient_of_half_the_squared_norm(tables, sparse, one_each):
    for table in tables:
        table.sparse = sparse
    decay = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5]]) if one_each else 0.5
    pulled(tables, AT, decay)
    half = (torch.full(AT.shape, 0.5) if not one_each else decay) / 2
    norms = [(half.unsqueeze(-1) * table.weight[AT].square()).sum() for table in tables]
    for table, expected, norm in zip(tables, by_torch(tables, AT), norms, strict=True):
        more = torch.autograd.grad(norm, table.weight)[0]
        torch.testing.assert_close(table.weight.grad.to_dense(), expected + more)
