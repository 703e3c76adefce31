"""What the columns of one pair add to its score, alone and two by two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.info import DataInfo
from recolib.data.kinds import kind_of, layout_of
from recolib.data.rows import AVERAGE, UNKNOWN, Codes, Rows
from recolib.data.schema import Field, Side
from recolib.inference.histories import Histories, read_histories, rows_with
from recolib.inference.ids import Id
from recolib.nn import Fields, ItemToItem, Network, Pairwise, state_of
from recolib.nn.embedding import Combiner, field_numbers
from recolib.nn.past import PastItems, PooledPast

Floats = NDArray[np.float64]
Value = int | float | str
STANDS_FOR = {UNKNOWN: "(unknown)", AVERAGE: "(average)"}
"""What is written for a code that is no value's."""
HISTORY = "history"
"""What stands for what the user consumed."""
TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass(frozen=True)
class Column:
    """A column, and its value in the pair."""

    name: str
    value: Value


@dataclass(frozen=True)
class Term:
    """One summand of a logit, and the columns that it is of."""

    kind: Literal["bias", "column", "pair", "history", "rest"]
    contribution: float
    columns: tuple[Column, ...] = ()

    @property
    def name(self) -> str:
        """What it is called, such as ``"sex × genre"``, or ``"history: 862"`` of an item that the user consumed."""
        if self.kind == "history":
            return f"{HISTORY}: {self.columns[0].value}"
        return TIMES.join(column.name for column in self.columns) or self.kind


def with_history(
    network: Network, info: DataInfo, user: Id, codes: Codes, pair: tuple[Rows, Rows], history: Histories
) -> tuple[Rows, Rows]:
    """A user and an item, the user with items that they consumed after training, if there are any.

    Raises
    ------
    ValueError
        If the network does not read them: a vector that is fitted to them has no terms.
    """
    if history is None:
        return pair
    if not network.reads_past:
        raise ValueError(
            "history explains models that read what users consumed, by history=True, item_to_item=True or their "
            "algorithm; this one fits a vector to it, which has no reasons"
        )
    found = read_histories(info, "history", history, [user], inner_id=False)
    return pair if found is None else (rows_with(info, pair[0], codes, found, is_all=False), pair[1])


@torch.inference_mode()
def explanation(network: Network, info: DataInfo, user: Rows, item: Rows, prediction: float) -> pd.DataFrame:
    """One pair's logit as a table of what adds up to it; see ``Predictor.explain``.

    Parameters
    ----------
    network
        The network.
    info
        What columns and values are called.
    user, item
        The user's row with its context, (1, C), and the item's.
    prediction
        What stands beside the logit.
    """
    user, item = user[:, None].to(network.device), item[:, None].to(network.device)
    (user_fields, past), (item_fields, codes) = network.fields("user", user), network.fields("item", item)
    columns, has_history = [*_columns(info, user, "user", "context")], network.pooled is not None
    if has_history:
        assert isinstance(past, PastItems)
        columns.append(Column(HISTORY, f"{len(past.pairs[0])} items"))
    columns += _columns(info, item, "item")
    combiner = cast("Combiner", network.user.combiner)
    numbers = field_numbers(network.user.layout, network.item.layout, combiner, has_history)
    columns_at = np.eye(len(columns))[[*numbers[0], *numbers[1]]]  # (F, columns): which column stands where
    both = user_fields.join(item_fields)
    logit = bias = network.bias
    alone, pairs, rest, of_items = list[Floats](), list[Floats](), list[float](), list[Term]()
    for component in network.terms:  # one by one: the whole network might round to bfloat16
        states = state_of(component, "user", user_fields, past), state_of(component, "item", item_fields, codes)
        score = component.score(*states)
        logit = logit + score
        if isinstance(component, ItemToItem) and isinstance(past, PastItems) and isinstance(codes, Tensor):
            of_items += _of_history(info, *component.of_each(past, codes))
            continue
        part = component.contributions(both)
        if part is None:
            rest.append(score.item())
            continue
        if part.constant is not None:
            bias = bias + part.constant
        if part.alone is not None:
            alone.append(_array(part.alone) @ columns_at)
        if part.pairs is not None:
            of_pairs = _array(part.pairs)
            if network.pooled is not None and isinstance(component, Pairwise) and isinstance(past, PastItems):
                last = len(numbers[0]) - 1
                of_items += _of_history(info, *_in_pairs(component, network.pooled, both, past, last))
                of_pairs[last], of_pairs[:, last] = 0.0, 0.0
            pairs.append(columns_at.T @ of_pairs @ columns_at)
    terms = [Term("bias", bias.item()), *_of_columns(alone, columns), *_of_pairs(pairs, columns), *of_items]
    terms += [Term("rest", sum(rest))] if rest else []
    frame = _table(sorted(terms, key=lambda term: -abs(term.contribution)))
    frame.attrs |= {"logit": logit.item(), "prediction": prediction}
    return frame


def _array(numbers: Tensor) -> Floats:
    """Contributions to one pair, (1, 1, …), as an array."""
    return numbers[0, 0].double().cpu().numpy()


def _of_columns(alone: Sequence[Floats], columns: Sequence[Column]) -> Iterator[Term]:
    if alone:
        for column, contribution in zip(columns, np.sum(alone, 0).tolist(), strict=True):
            if column.name != HISTORY:  # which has no first-order weight
                yield Term("column", contribution, (column,))


def _of_pairs(pairs: Sequence[Floats], columns: Sequence[Column]) -> Iterator[Term]:
    """Of each two columns; of a column with itself where several of its values are multiplied with each other."""
    if pairs:
        total = np.sum(pairs, 0).tolist()
        for i, j in combinations_with_replacement(range(len(columns)), 2):
            itemised = HISTORY in (columns[i].name, columns[j].name) and not total[i][j]
            if (i < j and not itemised) or total[i][j]:
                yield Term("pair", total[i][j], (columns[i], columns[j]))


def _in_pairs(
    component: Pairwise, pooled: PooledPast, fields: Fields, past: PastItems, at: int
) -> tuple[NDArray[np.int32], Tensor]:
    """Of the pairs of a history, at a position, with all other fields, what each item of it says; and the codes."""
    each = past.pairs[1]
    weights = past.recencies if pooled.by_recency else torch.ones(len(each), device=each.device)
    codes, which = each.unique(return_inverse=True)
    shares = weights.new_zeros(len(codes)).index_add(0, which, weights) / weights.square().sum().sqrt()
    vectors = past.vectors(codes) * shares.unsqueeze(1)
    factors, _ = component.pair_factors()
    others = fields.vectors[0, 0].sum(0) - fields.vectors[0, 0, at]
    return codes.cpu().numpy().astype(np.int32), vectors @ (factors * others)


def _of_history(info: DataInfo, codes: NDArray[np.int32], said: Tensor) -> Iterator[Term]:
    """What each item that the user consumed says of the item, as terms."""
    vocab = info.vocabs["item"]
    for consumed, contribution in zip(vocab.decode(codes).tolist(), said.tolist(), strict=True):
        yield Term("history", contribution, (Column(HISTORY, consumed),))


def _columns(info: DataInfo, row: Rows, *sides: Side) -> Iterator[Column]:
    """The columns of joined sides in the order of their fields, and what a row has in them."""
    parts: tuple[tuple[list[Any], Callable[[Side], Sequence[Field]]], ...] = (
        (row.codes[0, 0].tolist(), info.schema.codes),
        (row.dense[0, 0].tolist(), info.schema.dense),
    )
    for cells, fields_of in parts:
        at = 0
        for field in (field for side in sides for field in fields_of(side)):
            width = layout_of(field).width
            own, vocab = cells[at : at + width], info.vocabs.get(field.name)
            yield Column(field.name, kind_of(field).show(own, field, vocab, STANDS_FOR))
            at += width


def _table(terms: Sequence[Term]) -> pd.DataFrame:
    def of(number: int, what: Literal["name", "value"]) -> pd.Series:
        found = [getattr(term.columns[number], what) if number < len(term.columns) else None for term in terms]
        return pd.Series(found, dtype=object)  # which keeps None

    return pd.DataFrame(
        {
            "term": [term.name for term in terms],
            "kind": [term.kind for term in terms],
            "first": of(0, "name"),
            "second": of(1, "name"),
            "first_value": of(0, "value"),
            "second_value": of(1, "value"),
            "contribution": [term.contribution for term in terms],
        }
    )
