"""Fits draw from generators of their own, whatever other threads do meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recolib.algorithms import AFM, FM, IFM, NFM, DeepFM, DeepIFM, FinalMLP
from recolib.data import DatasetPure
from recolib.datasets import make_movies
from recolib.nn import Joined
from recolib.nn.dropout import dropout
from recolib.randomness import DRAW_GLOBALLY, TAKE_GENERATOR, generator, is_own, seeded
from recolib.recommender import Recommender
from recolib.training.losses import cross_entropy

CPU = torch.device("cpu")


class Noisy(Joined):
    """A component of one's own, which draws with torch's functions, as any module does."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(dim) * torch.rand(dim))
        self.layers = nn.Sequential(nn.Linear(dim, 8), nn.RReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        self.attention = nn.MultiheadAttention(dim, 2, dropout=0.2, batch_first=True)
        nn.init.trunc_normal_(self.layers[0].weight, std=0.1)

    def forward(self, fields: Any) -> torch.Tensor:
        vectors = fields.vectors * self.start
        if self.training:
            vectors = vectors + 0.01 * torch.randn_like(vectors) * torch.bernoulli(torch.full(vectors.shape, 0.5))
        rows = vectors.flatten(0, 1)
        return self.layers(vectors.mean(-2) + self.attention(rows, rows, rows)[0].mean(-2).view_as(vectors.mean(-2)))[
            ..., 0
        ]


class NoisyFM(FM):
    def components(self, spec: Any) -> Any:
        return [*super().components(spec), Noisy(spec.dim)]


def noisy_loss(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    return cross_entropy(scores + 0.1 * torch.randn(scores.shape), labels, weights)


SETTINGS: dict[str, tuple[type[Recommender], dict[str, Any]]] = {
    "FM": (FM, {"embed_dropout": 0.2, "use_bn": True, "dropout_rate": 0.2}),
    "NFM": (NFM, {"dropout_rate": 0.3}),
    "AFM": (AFM, {"pair_dropout": 0.3}),
    "IFM": (IFM, {}),
    "DeepIFM": (DeepIFM, {"pair_share": 0.5, "warmup_steps": 2, "pair_dropout": 0.2}),
    "DeepFM": (DeepFM, {"dropout_rate": 0.3}),
    "FinalMLP": (FinalMLP, {"dropout_rate": 0.3}),
    "whole catalogue": (DeepFM, {"dropout_rate": 0.3, "num_neg": "all", "loss_type": "softmax"}),
    "own component": (NoisyFM, {}),
    "own loss": (FM, {"loss_type": noisy_loss}),
}


@pytest.fixture(scope="module")
def world() -> Any:
    return DatasetPure.build_trainset(make_movies(n_users=60, n_items=40, n_ratings=1200))


def fitted(world: Any, name: str, seed: int = 1) -> Recommender:
    data, info = world
    cls, settings = SETTINGS[name]
    model = cls("ranking", info, **{"n_epochs": 2, "seed": seed, "batch_size": 256, "embed_size": 8, **settings})
    return model.fit(data, neg_sampling=True, verbose=0)


def at_once(*tasks: Callable[[], Any]) -> list[Any]:
    """What functions return that run in threads beside each other."""
    results, start = dict[int, Any](), threading.Barrier(len(tasks))

    def run(number: int) -> None:
        start.wait()
        results[number] = tasks[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(tasks))]


def bits(model: Recommender) -> list[list[Any]]:
    return [tensor.flatten().tolist() for tensor in model.engine.network.state_dict().values()]


@pytest.mark.parametrize("name", SETTINGS)
def test_fits_beside_each_other_have_the_bits_of_fits_alone(world, name):
    alone = [bits(fitted(world, name, seed)) for seed in (1, 2)]
    assert alone[0] != alone[1]
    tasks = [lambda seed=seed: bits(fitted(world, name, seed)) for seed in (1, 2, 1, 1)]
    assert at_once(*tasks) == [alone[0], alone[1], alone[0], alone[0]]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fit_leaves_the_global_generator_as_it_was(world, name):
    before = torch.get_rng_state()
    fitted(world, name)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["FM", "DeepFM", "whole catalogue"])
def test_a_program_draws_its_own_numbers_while_another_thread_fits(world, name):
    def draw() -> list[float]:
        torch.manual_seed(7)
        return [torch.rand(()).item() for _ in range(3000)]

    expected = draw()
    assert at_once(draw, lambda: fitted(world, name), lambda: fitted(world, name))[0] == expected


def test_fits_within_a_fit_draw_apart(world):
    """A loss that trains another model meanwhile."""
    data, info = world

    def loss(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        if not scores.requires_grad:
            return cross_entropy(scores, labels, weights)
        fitted(world, "IFM", seed=5)
        return cross_entropy(scores, labels, weights)

    small = data.take(np.arange(60))
    settings = {"dropout_rate": 0.3, "n_epochs": 1, "batch_size": 64}
    plain = DeepFM("ranking", info, loss_type=lambda *args: cross_entropy(*args), **settings)
    nested = DeepFM("ranking", info, loss_type=loss, **settings)
    assert bits(plain.fit(small, True, verbose=0)) == bits(nested.fit(small, True, verbose=0))


# ---- one draw


def test_a_seeded_draw_is_that_of_its_seed_and_nests():
    with seeded(CPU, 1):
        first = dropout(torch.ones(99), 0.5)
        with seeded(CPU, 2):
            inner = dropout(torch.ones(99), 0.5)
        second = dropout(torch.ones(99), 0.5)
    with seeded(CPU, 1):
        assert torch.equal(dropout(torch.ones(99), 0.5), first)
        assert torch.equal(dropout(torch.ones(99), 0.5), second)
    assert not torch.equal(first, inner)
    assert generator(CPU) is None


def test_a_thread_has_generators_of_its_own():
    with seeded(CPU, 1):
        assert at_once(lambda: generator(CPU)) == [None]


DRAWS: dict[str, Callable[[torch.Tensor], Any]] = {
    "rand": lambda x: torch.rand(5),
    "randn": lambda x: torch.randn(5),
    "randint": lambda x: torch.randint(100, (5,)),
    "randperm": lambda x: torch.randperm(30),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "normal": lambda x: torch.normal(x, 1.0),
    "bernoulli": torch.bernoulli,
    "method": lambda x: x.clone().bernoulli(0.4),
    "multinomial": lambda x: x.multinomial(5, replacement=True),
    "poisson": lambda x: torch.poisson(x * 20),
    "binomial": lambda x: torch.binomial(torch.full_like(x, 50), x),
    "uniform_": lambda x: x.clone().uniform_(),
    "exponential_": lambda x: x.clone().exponential_(),
    "random_": lambda x: x.clone().random_(),
    "dropout": lambda x: F.dropout(x, 0.5),
    "inplace": lambda x: F.dropout(x.clone(), 0.5, inplace=True),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, training=True),
    "gumbel_softmax": F.gumbel_softmax,
    "rrelu": lambda x: F.rrelu(-x, training=True),
    "gamma": lambda x: torch.distributions.Gamma(x + 1, x + 1).rsample(),
    "dirichlet": lambda x: torch.distributions.Dirichlet(x + 1).rsample(),
    "init": lambda x: nn.init.xavier_normal_(x.clone().view(10, 10)),
    "orthogonal": lambda x: nn.init.orthogonal_(x.clone().view(10, 10)),
    "layer": lambda x: nn.GRU(3, 4, dropout=0.2, num_layers=2)(torch.ones(2, 3))[0].detach(),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.view(1, 10, 10)] * 3, dropout_p=0.4),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_of_any_code_are_those_of_the_seed(name):
    x, before = torch.linspace(0.1, 0.9, 100), torch.get_rng_state()
    drawn: list[torch.Tensor] = []
    for seed in (1, 2, 1):
        torch.rand(1)
        before = torch.get_rng_state()
        with seeded(CPU, seed, all_code=True):
            drawn.append(DRAWS[name](x))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


INNER = {
    "_cudnn_attention",
    "_cudnn_init_dropout_state",
    "_cudnn_rnn",
    "_efficient_attention",
    "_fill_mem_eff_dropout_mask",
    "_flash_attention",
    "_fused_sdp_choice",
    "_lstm_mps",
    "_nested_tensor_softmax",
    "_scaled_dot_product",
    "_triton_scaled_dot_attention",
    "miopen_rnn",
    "rrelu_with",
    "normal_functional",
}
"""Beginnings of the names of what only torch's own functions call."""


def test_all_that_torch_marks_as_random_is_known():
    """A new release of torch that has another random function fails here."""
    every = {name.removeprefix("aten::").partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    ops = {name: getattr(torch.ops.aten, name) for name in every if hasattr(torch.ops.aten, name)}
    random = {
        name
        for name, op in ops.items()
        if hasattr(op, "overloads")
        and any(torch.Tag.nondeterministic_seeded in getattr(op, one).tags for one in op.overloads())
    }
    by_torch = {name for name in random if name.startswith(tuple(INNER))} | {"_fused_dropout"}
    written_in_place = {name for name in random if f"{name}_" in TAKE_GENERATOR.split()}
    assert random - by_torch - written_in_place <= {*TAKE_GENERATOR.split(), *DRAW_GLOBALLY.split()}


def test_own_code_is_told_from_other_code():
    assert is_own(cross_entropy)
    assert is_own(nn.Module.__call__) is False
    assert not is_own(Noisy(4))
    assert not is_own(noisy_loss)
