"""What every component must do: the cut network gives what the uncut one does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import safetensors.numpy
import torch
from torch import Tensor

from recolib.data.rows import ABSENT, Rows
from recolib.nn import BatchNorm, CodeField, Component, FieldEmbedding, Fields, FieldSpec, Joined, Network, SideLayout
from recolib.nn.embedding import Combiner, field_numbers
from recolib.nn.fields import NetworkSide, State
from recolib.randomness import seeded

C = TypeVar("C", bound=Component[Any])
CPU = torch.device("cpu")
N_USERS, N_ITEMS = 5, 7


@dataclass(frozen=True)
class Columns:
    """The columns of both sides of a network, and how multi-sparse ones are pooled."""

    name: str
    user: SideLayout
    item: SideLayout
    combiner: Combiner = "sqrtn"


TAGS, GENRES = CodeField(3, width=2, multi=True), CodeField(6, width=3, multi=True)
OF_USERS = SideLayout((CodeField(9), TAGS, CodeField(4)), 2)
OF_ITEMS = SideLayout((CodeField(8), CodeField(2), GENRES), 4, vectors=((1, 4),))
COLUMNS = (
    Columns("ids alone", SideLayout((CodeField(9),)), SideLayout((CodeField(8),))),
    Columns("all kinds of columns", OF_USERS, OF_ITEMS),
    Columns("multi-sparse columns that are not pooled", OF_USERS, OF_ITEMS, "normal"),
)


@dataclass(frozen=True, eq=False)
class _Case:
    """A network of one component, in float64, with random weights and rows."""

    network: Network
    spec: FieldSpec
    users: Rows
    items: Rows
    tolerance: float

    @property
    def component(self) -> Component[Any]:
        """The component."""
        return self.network.terms[0]

    @property
    def catalogue(self) -> Rows:
        """The items' rows for all users, (1, M, ...)."""
        return Rows(self.items.codes[None], self.items.dense[None])

    def close(self, found: Tensor, expected: Tensor, what: str) -> None:
        """Raise unless two tensors agree."""
        try:
            torch.testing.assert_close(found, expected, rtol=self.tolerance, atol=self.tolerance, check_dtype=False)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None

    def scores(self) -> Tensor:
        """Of all users and items in evaluation, (U, M)."""
        states = self.network.encode("user", self.users), self.network.encode("item", self.items)
        return self.network.score(states[0][:, None], states[1][None])

    def fields(self) -> Fields:
        """Those of all pairs of a user and an item, (U·M, F, K)."""
        of_user, of_item = self.network.user(self.users[:, None]), self.network.item(self.catalogue)
        return of_user.join(of_item).map(lambda tensor: tensor.flatten(0, 1))


def check_component(
    make: Callable[[FieldSpec], C],
    uncut: Callable[[C, Fields], Tensor] | None = None,
    *,
    dim: int = 4,
    seed: int = 0,
    tolerance: float = 1e-8,
) -> None:
    """Check a component of one's own.

    The networks that it is tried in have ids alone, all kinds of columns, and multi-sparse columns that are not pooled;
    weights and rows are random, with absent, unknown and average values, in float64. It must

    * give the scores and gradients of ``uncut``, in training and in evaluation, with batch statistics as there;
    * give items that users share the scores and gradients of items of their own, and pairs those of a catalogue;
    * encode a row as it does among others, to a ``State`` that can be cut, joined and gathered;
    * score the same after its weights were saved and loaded into a new one;
    * have ``inner_product`` and ``contributions``, if any, that come to the score.

    Parameters
    ----------
    make
        Makes the component for fields, without dropout: two calls in training must agree.
    uncut
        The term as the paper has it: the component and the fields of n pairs (n, F, K), the user's first, to scores
        (n,). A ``Joined`` component needs none.
    dim
        The size K of the vectors.
    seed
        For weights and rows.
    tolerance
        How far, absolutely and relatively, numbers may be apart.

    Raises
    ------
    AssertionError
        If the component does not do one of these; the message says which, and with which columns.

    Examples
    --------
    A component that multiplies the sums of both sides' vectors, each scaled by trained weights:

    >>> from dataclasses import dataclass
    >>> import torch
    >>> from recolib.nn import Component, State
    >>> from recolib.nn.components import cross
    >>> from recolib.testing import check_component
    >>> @dataclass(frozen=True, eq=False)
    ... class SumState(State):
    ...     total: torch.Tensor  # (..., K)
    >>> class ScaledProduct(Component[SumState]):
    ...     def __init__(self, spec):
    ...         super().__init__()
    ...         self.spec = spec
    ...         self.scale = torch.nn.Parameter(torch.ones(spec.dim))
    ...
    ...     def encode(self, side, fields):
    ...         total = fields.vectors.sum(-2)
    ...         return SumState(total * self.scale if side == "user" else total)
    ...
    ...     def score(self, user, item):
    ...         return cross(user.total, item.total)
    >>> def uncut(component, fields):
    ...     of_user, of_item = (fields.vectors[:, component.spec.span(side)].sum(1) for side in ("user", "item"))
    ...     return (of_user * component.scale * of_item).sum(-1)
    >>> check_component(ScaledProduct, uncut)
    """
    for columns in COLUMNS:
        try:
            with seeded(CPU, seed, all_code=True):
                _check(_case(columns, make, dim, tolerance), make, uncut)
        except AssertionError as error:
            raise AssertionError(f"with {columns.name}, {error}") from None


def _case(columns: Columns, make: Callable[[FieldSpec], C], dim: int, tolerance: float) -> _Case:
    spec = FieldSpec(*field_numbers(columns.user, columns.item, columns.combiner), dim)
    sides = (FieldEmbedding(layout, dim, columns.combiner) for layout in (columns.user, columns.item))
    component = make(spec)
    assert isinstance(component, Component), f"make must give a Component, and gave {component!r}"
    network = Network(*sides, components=[component]).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.4)
        for module in network.modules():
            if isinstance(module, BatchNorm) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    return _Case(network, spec, _rows(columns.user, N_USERS), _rows(columns.item, N_ITEMS), tolerance)


def _rows(layout: SideLayout, n: int) -> Rows:
    """Known, unknown and average codes; a third of the slots absent, sometimes all; some numbers zero."""
    columns: list[Tensor] = []
    for field in layout.code_fields:
        codes = torch.randint(-1, field.n_values + 1, (n, field.width), dtype=torch.int32)
        if field.multi:
            codes[torch.rand(codes.shape) < 0.35] = ABSENT
            codes[0] = ABSENT
        columns.append(codes)
    dense = torch.randn(n, layout.n_dense, dtype=torch.float64)
    dense[torch.rand(dense.shape) < 0.2] = 0
    return Rows(torch.cat(columns, -1), dense)


def _check(case: _Case, make: Callable[[FieldSpec], C], uncut: Callable[[Any, Fields], Tensor] | None) -> None:
    for training in (False, True):
        case.network.train(training)
        _check_scores(case, uncut, "in training" if training else "in evaluation")
    case.network.eval()
    with torch.no_grad():
        _check_states(case)
        _check_pairs(case)
        _check_weights(case, make)
        _check_parts(case)
    _check_facts(case)


def _check_scores(case: _Case, uncut: Callable[[Any, Fields], Tensor] | None, when: str) -> None:
    """Shared items equal items of one's own and the uncut term: scores, gradients and batch statistics."""
    network, shape = case.network, (N_USERS, N_ITEMS)
    own = case.catalogue[torch.zeros(N_USERS, dtype=torch.int64)]
    pull = torch.randn(shape, dtype=torch.float64)
    ways: dict[str, Callable[[], Tensor]] = {
        "the scores of items that users share": lambda: network(case.users[:, None], case.catalogue),
        "the same scores, computed again (is there dropout?)": lambda: network(case.users[:, None], case.catalogue),
        "the scores of items of one's own": lambda: network(case.users[:, None], own),
    }
    if uncut is not None:
        ways["the uncut term"] = lambda: uncut(case.component, case.fields()).view(shape) + network.bias
    elif isinstance(case.component, Joined):
        ways["the uncut term"] = lambda: case.component(case.fields().map(lambda t: t.unflatten(0, shape)))
    before = [buffer.clone() for buffer in network.buffers()]
    found: list[tuple[Tensor, Tensor, list[Tensor]]] = []
    for name, way in ways.items():
        for buffer, old in zip(network.buffers(), before, strict=True):
            buffer.copy_(old)
        scores = way()
        assert scores.shape == shape, f"{name} {when} have the shape {tuple(scores.shape)}, not {shape}"
        assert scores.isfinite().all(), f"{name} {when} are not all finite"
        if name == "the uncut term" and uncut is None:
            scores = scores + network.bias
        loss = (scores * pull).sum()
        parts = torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True, allow_unused=True)
        gradient = torch.cat([part.flatten() for part in parts])
        found.append((scores, gradient, [buffer.clone() for buffer in network.buffers()]))
    scores, gradient, statistics = found[0]
    for name, (other, its_gradient, its_statistics) in zip(ways, found, strict=True):
        case.close(scores, other, f"{when}, scores are not {name}")
        case.close(gradient, its_gradient, f"{when}, gradients are not those of {name}")
        for mine, theirs in zip(statistics, its_statistics, strict=True):
            case.close(mine, theirs, f"{when}, buffers such as batch statistics are not those of {name}")


def _check_states(case: _Case) -> None:
    """A row is encoded alone as among others, and its state can be cut, joined and gathered."""
    sides: tuple[tuple[NetworkSide, Rows], ...] = (("user", case.users), ("item", case.items))
    for side, rows in sides:
        fields = case.network.embedding(side)(rows)
        whole, n = case.component.encode(side, fields), len(rows.codes)
        assert isinstance(whole, State), f"encode gave {type(whole).__name__}, which is no State"
        for tensor in _tensors(whole):
            assert tensor.shape[:1] == (n,), f"a {side}'s state has {tuple(tensor.shape)}, not {n} rows first"
        alone = [case.component.encode(side, fields[at : at + 1]) for at in range(n)]
        order = torch.arange(n - 1, -1, -1)
        for what, other in (
            ("encoded alone", type(whole).cat(alone)),
            ("cut and joined", type(whole).cat([whole[:2], whole[2:]])),
            ("gathered and turned back", whole[order][order]),
            ("copied by map", whole.map(torch.clone)),
            ("lifted by a dimension", whole[:, None].map(lambda tensor: tensor.squeeze(1))),
        ):
            for mine, theirs in zip(_tensors(other), _tensors(whole), strict=True):
                case.close(mine, theirs, f"the states of {side}s are others when they are {what}")


def _check_pairs(case: _Case) -> None:
    """Pairs equal a catalogue."""
    whole = case.scores()
    of_users, of_items = case.network.encode("user", case.users), case.network.encode("item", case.items)
    for item in range(N_ITEMS):
        chosen = torch.full((N_USERS, 1), item)
        pairs = case.network.score(of_users[:, None], of_items[chosen])
        case.close(pairs, whole[:, item : item + 1], "the scores of pairs are not those of the catalogue")


def _check_weights(case: _Case, make: Callable[[FieldSpec], C]) -> None:
    """Weights that are saved and loaded score the same."""
    expected = case.scores()
    file = safetensors.numpy.save({name: tensor.numpy() for name, tensor in case.component.state_dict().items()})
    fresh = make(case.spec).double()
    fresh.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in safetensors.numpy.load(file).items()}
    )
    other = Network(case.network.user, case.network.item, [fresh]).double().eval()
    with torch.no_grad():
        other.bias.copy_(case.network.bias)
    loaded = _Case(other, case.spec, case.users, case.items, case.tolerance)
    case.close(loaded.scores(), expected, "a component with saved weights does not score the same")


def _check_parts(case: _Case) -> None:
    """Inner products and contributions come to the score."""
    component, bias = case.component, case.network.bias
    expected = case.scores() - bias
    of_user = component.inner_product("user", component.encode("user", case.network.user(case.users)))
    of_item = component.inner_product("item", component.encode("item", case.network.item(case.items)))
    assert (of_user is None) == (of_item is None), "inner_product is there for one side and not for the other"
    if of_user is not None and of_item is not None:
        product = of_user.vector @ of_item.vector.mT + of_user.constant[:, None] + of_item.constant
        case.close(product, expected, "inner_product does not come to the score")
    parts = component.contributions(case.fields())
    if parts is not None:
        total = torch.zeros(N_USERS * N_ITEMS, dtype=torch.float64)
        total = total if parts.constant is None else total + parts.constant
        total = total if parts.alone is None else total + parts.alone.sum(-1)
        total = total if parts.pairs is None else total + parts.pairs.sum((-1, -2))
        case.close(total.view(expected.shape), expected, "contributions do not come to the score")


def _check_facts(case: _Case) -> None:
    """What a component says of itself."""
    numbers, penalty = case.component.numbers_per_pair, case.component.penalty()
    assert isinstance(numbers, int), f"numbers_per_pair must be an integer, got {numbers!r}"
    assert numbers > 0, f"numbers_per_pair must be at least 1, got {numbers!r}"
    value = torch.as_tensor(penalty)
    assert value.dim() == 0, f"penalty must be one number, got {penalty!r}"
    assert value.isfinite(), f"penalty must be a finite number, got {penalty!r}"


def _tensors(state: State) -> list[Tensor]:
    """All tensors of a state."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    state.map(note)
    return found
