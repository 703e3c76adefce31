"""recolib.testing: what is right passes, and each promise that is broken is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.algorithms import FM
from recolib.nn import (
    Attention,
    Component,
    CrossLayers,
    Deep,
    Fields,
    FieldSpec,
    GatedStreams,
    InteractionAware,
    InteractionLayers,
    Joined,
    Linear,
    Pairwise,
    Pooled,
    SelfAttention,
    State,
    TwoStreams,
)
from recolib.nn.components import Contributions, InnerProduct, cross
from recolib.nn.mlp import BatchNorm
from recolib.recommender import Recommender
from recolib.settings import Flag
from recolib.testing import check_algorithm, check_component
from recolib.testing.algorithms import PROMISES, Case, check_promise, make_world

# ---- components

COMPONENTS: dict[str, Callable[[FieldSpec], Component[Any]]] = {
    "Linear": Linear,
    "Linear per field": lambda spec: Linear(spec, True),
    "Pairwise": Pairwise,
    "Pairwise with norm": lambda spec: Pairwise(spec, True),
    "Pooled": lambda spec: Pooled(spec, (5, 3), True),
    "Deep": lambda spec: Deep(spec, (5, 3), True),
    "Attention": lambda spec: Attention(spec, 3),
    "InteractionAware": lambda spec: InteractionAware(spec, 3, 4, temperature=2.5),
    "InteractionLayers": lambda spec: InteractionLayers(spec, 3, 4, (5, 3)),
    "CrossLayers": lambda spec: CrossLayers(spec, 2),
    "SelfAttention": lambda spec: SelfAttention(spec, (4, 4), 2),
    "TwoStreams": lambda spec: TwoStreams(spec, (6, 4), (4,), 2, True),
    "GatedStreams": lambda spec: GatedStreams(spec, (6, 4), (4,), (3,), 2, True),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_recolibs_own_components_pass(name: str) -> None:
    check_component(COMPONENTS[name])


def pairs_by_loops(component: Pairwise, fields: Fields) -> Tensor:
    vectors, n = fields.vectors, fields.vectors.shape[1]
    pooled = sum(
        (vectors[:, i] * vectors[:, j] for i in range(n) for j in range(i + 1, n)), torch.zeros_like(vectors[:, 0])
    )
    return (pooled if component.norm is None else component.norm(pooled)).sum(-1)


@pytest.mark.parametrize("use_bn", [False, True])
def test_a_component_passes_against_its_formula(use_bn: bool) -> None:
    check_component(lambda spec: Pairwise(spec, use_bn), pairs_by_loops)


def test_a_formula_that_differs_is_found() -> None:
    with pytest.raises(AssertionError, match="with ids alone, in evaluation, scores are not the uncut term"):
        check_component(Pairwise, lambda component, fields: 1.01 * pairs_by_loops(component, fields))


def test_a_formula_with_other_gradients_is_found() -> None:
    def formula(component: Pairwise, fields: Fields) -> Tensor:
        value = pairs_by_loops(component, fields)
        return value.detach() + 0.5 * (value - value.detach())

    with pytest.raises(AssertionError, match="gradients are not those of the uncut term"):
        check_component(Pairwise, formula)


class AllFields(Joined):
    """A term that looks at all fields of a pair."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(spec.n_positions))

    def forward(self, fields: Fields) -> Tensor:
        return fields.vectors.square().sum(-1) @ self.weight


def test_a_joined_component_passes() -> None:
    check_component(AllFields)


@dataclass(frozen=True, eq=False)
class SumState(State):
    total: Tensor


class Product(Component[SumState]):
    """⟨scale ∘ Σ e of the user, Σ e of the item⟩."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__()
        self.spec = spec
        self.scale = nn.Parameter(torch.ones(spec.dim))

    def encode(self, side: str, fields: Fields) -> SumState:
        total = fields.vectors.sum(-2)
        return SumState(total * self.scale if side == "user" else total)

    def score(self, user: SumState, item: SumState) -> Tensor:
        return cross(user.total, item.total)


def test_a_component_of_ones_own_passes() -> None:
    check_component(Product)


class OfAnotherShape(Product):
    def score(self, user: SumState, item: SumState) -> Tensor:
        return super().score(user, item).unsqueeze(-1)


class NotANumber(Product):
    def score(self, user: SumState, item: SumState) -> Tensor:
        return super().score(user, item) / 0


class WithDropout(Product):
    def score(self, user: SumState, item: SumState) -> Tensor:
        return F.dropout(super().score(user, item), 0.5, self.training)


class OtherForACatalogue(Product):
    def score(self, user: SumState, item: SumState) -> Tensor:
        return super().score(user, item) * (1.01 if item.total.shape[0] == 1 else 1)


class OtherForPairs(Product):
    def score(self, user: SumState, item: SumState) -> Tensor:
        return super().score(user, item) * (1.01 if item.total.shape[1] == 1 else 1)


class MeanOfTheBatch(Product):
    """What is encoded depends on the other rows."""

    def encode(self, side: str, fields: Fields) -> SumState:
        state = super().encode(side, fields)
        if self.training or side == "user":
            return state
        return SumState(state.total - state.total.reshape(-1, state.total.shape[-1]).mean(0))


class NormInEncode(Product):
    """Batch norm over items as often as they are encoded, not as often as they are scored."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.norm = BatchNorm(1)

    def encode(self, side: str, fields: Fields) -> SumState:
        state = super().encode(side, fields)
        return state if side == "item" else SumState(state.total * self.norm(state.total.sum(-1, keepdim=True)))


def norm_of_pairs(component: NormInEncode, fields: Fields) -> Tensor:
    user, item = (fields.vectors[:, component.spec.span(side)].sum(1) for side in ("user", "item"))
    user = user * component.scale
    return (user * component.norm(user.sum(-1, keepdim=True)) * item).sum(-1)


class NoState(Product):
    def encode(self, side: str, fields: Fields) -> Any:
        return super().encode(side, fields).total

    def score(self, user: Any, item: Any) -> Tensor:
        return cross(user, item)


@dataclass(frozen=True, eq=False)
class FlatState(State):
    total: Tensor
    count: Tensor


class CountsRows(Product):
    """Its state has a number that is not of a row."""

    def encode(self, side: str, fields: Fields) -> Any:
        return FlatState(super().encode(side, fields).total, torch.zeros(1, 1, 1)[(0,) * (3 - fields.present.dim())])


class UnsavedWeights(Product):
    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.factor = float(torch.rand(()))

    def score(self, user: SumState, item: SumState) -> Tensor:
        return self.factor * super().score(user, item)


class WrongInnerProduct(Product):
    def inner_product(self, side: str, state: SumState) -> InnerProduct:
        return InnerProduct(state.total, state.total.sum(-1))


class HalfAnInnerProduct(Product):
    def inner_product(self, side: str, state: SumState) -> InnerProduct | None:
        return InnerProduct(state.total, state.total.sum(-1)) if side == "user" else None


class WrongContributions(Product):
    def contributions(self, fields: Fields) -> Contributions:
        return Contributions(alone=fields.weights)


class NoWidth(Product):
    numbers_per_pair = 0  # pyright: ignore


class InfinitePenalty(Product):
    def penalty(self) -> float:
        return float("inf")


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (OfAnotherShape, "have the shape (5, 7, 1), not (5, 7)"),
        (NotANumber, "are not all finite"),
        (WithDropout, "in training, scores are not the same scores, computed again (is there dropout?)"),
        (OtherForACatalogue, "in evaluation, scores are not the scores of items of one's own"),
        (OtherForPairs, "the scores of pairs are not those of the catalogue"),
        (MeanOfTheBatch, "the states of items are others when they are encoded alone"),
        (NoState, "encode gave Tensor, which is no State"),
        (CountsRows, "a user's state has"),
        (UnsavedWeights, "a component with saved weights does not score the same"),
        (WrongInnerProduct, "inner_product does not come to the score"),
        (HalfAnInnerProduct, "inner_product is there for one side and not for the other"),
        (WrongContributions, "contributions do not come to the score"),
        (NoWidth, "numbers_per_pair must be at least 1, got 0"),
        (InfinitePenalty, "penalty must be a finite number, got inf"),
        (lambda spec: nn.Linear(1, 1), "make must give a Component"),
    ],
    ids=lambda v: getattr(v, "__name__", "message"),
)
def test_a_wrong_component_is_named(component: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_component(component)


def test_batch_norm_over_users_instead_of_pairs_is_found() -> None:
    with pytest.raises(
        AssertionError, match="in training, buffers such as batch statistics are not those of the uncut"
    ):
        check_component(NormInEncode, norm_of_pairs)


def test_checking_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    check_component(Product)
    assert torch.equal(torch.get_rng_state(), state)


# ---- algorithms


class SmallFM(Recommender):
    """An algorithm of one's own."""

    use_bn: Flag = False

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        return [Linear(spec), Pairwise(spec, self.use_bn)]


def test_an_algorithm_of_ones_own_passes() -> None:
    check_algorithm(SmallFM, {"use_bn": True})


class Untrained(SmallFM):
    def fit(self, train_data: Any, neg_sampling: bool, verbose: int = 1, **more: Any) -> Any:
        n_epochs, self.n_epochs, lr, self.lr = self.n_epochs, 1, self.lr, 1e-30
        super().fit(train_data, neg_sampling, verbose)
        self.n_epochs, self.lr = n_epochs, lr
        return self


class Unseeded(SmallFM):
    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        scaled = Pairwise(spec, weighted=True)
        with torch.no_grad():
            scaled.weight.fill_(float(np.random.default_rng().random()))  # pyright: ignore
        return [Linear(spec), scaled]


class OutOfRange(SmallFM):
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        found = super().predict(*args, **kwargs)
        return found if isinstance(found, float) else found + np.float32(7)


class Rounded(SmallFM):
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        found = super().predict(*args, **kwargs)
        return round(found, 1) if isinstance(found, float) else found


class Repeats(SmallFM):
    def recommend_user(self, *args: Any, **kwargs: Any) -> Any:
        return {user: items[[0, *range(len(items) - 1)]] for user, items in super().recommend_user(*args).items()}


class Forgets(SmallFM):
    def recommend_user(self, *args: Any, **kwargs: Any) -> Any:
        return super().recommend_user(*args, filter_consumed=False)


class Rising(SmallFM):
    def recommend_user(self, *args: Any, **kwargs: Any) -> Any:
        found = super().recommend_user(*args, **kwargs)
        return {user: (it[0][::-1], it[1][::-1]) if isinstance(it, tuple) else it for user, it in found.items()}


class KnownAlone(SmallFM):
    def recommend_user(self, user: Any, n_rec: int, **kwargs: Any) -> Any:
        found = super().recommend_user(user, n_rec, **kwargs)
        return {one: items if one != "nobody" else items[:3] for one, items in found.items()}


class Draws(SmallFM):
    def recommend_user(self, *args: Any, **kwargs: Any) -> Any:
        torch.rand(1)
        return super().recommend_user(*args, **kwargs)


class LoadsAnew(SmallFM):
    @classmethod
    def load(cls, path: Any, model_name: str, *args: Any, **kwargs: Any) -> Any:
        saved = super().load(path, model_name)
        data, info = make_world(saved.task, "pure").build()
        return cls(saved.task, info, n_epochs=1, embed_size=8).fit(data, saved.task == "ranking", verbose=0)


class NeverGrows(SmallFM):
    def update(self, *args: Any, **kwargs: Any) -> Any:
        return self


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (Untrained, "history_ has 1 rows for 3 epochs"),
        (Unseeded, "the same seed gives"),
        (OutOfRange, "predictions go from 7."),
        (Rounded, "pairs are predicted otherwise alone than among others"),
        (Repeats, "has an item twice"),
        (Forgets, "has consumed items"),
        (Rising, "a list's scores do not fall"),
        (KnownAlone, "gives an unknown user"),
        (Draws, "an answer draws from torch's global generator"),
        (LoadsAnew, "a loaded model predicts otherwise"),
        (NeverGrows, "update does not learn a new user"),
    ],
    ids=lambda v: getattr(v, "__name__", "message"),
)
def test_a_broken_promise_is_named(algorithm: type[Recommender], message: str) -> None:
    start = f"{algorithm.__name__} with task='ranking' and columns of 'pure': "
    with pytest.raises(AssertionError, match=re.escape(start) + ".*" + re.escape(message)):
        check_algorithm(algorithm, tasks=["ranking"], kinds=["pure"])


def test_each_promise_says_what_it_is() -> None:
    assert all(promise.__doc__ for promise in PROMISES)
    assert len({promise.__name__ for promise in PROMISES}) == len(PROMISES)


def test_warnings_of_a_promise_are_not_the_callers(recwarn: pytest.WarningsRecorder) -> None:
    case = Case(FM, {}, "ranking", make_world("ranking", "all kinds"))
    for promise in PROMISES:
        check_promise(promise, case, "FM")
    assert not recwarn.list
