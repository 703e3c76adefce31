"""What a request asks of a model: checked against its columns, as arguments of ``recommend_user``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import narwhals as nw
import pandas as pd

from recolib.data.info import DataInfo
from recolib.data.kinds import layout_of
from recolib.serving.columns import group_columns, holds_lists, is_number
from recolib.serving.models import Served
from recolib.serving.schemas import Condition, RecommendRequest

Id = int | str
ORDERS = "<", "<=", ">", ">="
SETS = "in", "not in"
MAX_HISTORY = 200
"""The newest items that a user's vector is fitted to; all are left out of lists."""


class RefusedRequest(Exception):
    """A request that this model cannot answer; its text holds nothing of the request.

    Parameters
    ----------
    where
        The argument, and where in it.
    rule
        What it must be.
    """

    def __init__(self, where: Sequence[str | int], rule: str) -> None:
        super().__init__(rule)
        self.where, self.rule = where, rule


@dataclass(frozen=True)
class Consumed:
    """What a store has of the users of a request."""

    items: Mapping[Id, Sequence[Id]] = field(default_factory=dict[Id, Sequence[Id]])


def arguments_of(served: Served, ask: RecommendRequest, consumed: Consumed) -> dict[str, Any]:
    """The arguments of ``recommend_user`` for a request, beside its users.

    Raises
    ------
    RefusedRequest
        If it names a column that the model does not have, or a value that the column cannot have.
    """
    info = served.info
    names = {
        "user_feats": _given(ask.user_feats),
        "context": _given(ask.context),
        "max_per_group": list(ask.max_per_group or ()),
        "segment": ask.segment or [],
        "columns": ask.columns,
    }
    of_side = {
        "user_feats": info.user_col,
        "context": info.context_col,
        "max_per_group": group_columns(info, "item"),
        "segment": group_columns(info, "user"),
        "columns": served.columns,
    }
    for argument, given in names.items():
        check_columns(argument, given, of_side[argument])
    feats = _per_user(ask, "user_feats", ask.user_feats, isinstance(ask.user_feats, list))
    for values in [*(feats or ()), *([ask.context] if ask.context else ())]:
        check_feats(info, values, "context" if values is ask.context else "user_feats")
    if ask.segment and ask.cold_start != "popular":
        raise RefusedRequest(("segment",), "it needs cold_start 'popular'")
    if ask.min_score is not None and ask.min_score > 1 and served.model.task == "ranking":
        raise RefusedRequest(("min_score",), "it must be at most 1, since predictions are probabilities")
    history, exclude = _histories(ask, consumed)
    return {
        "n_rec": ask.n_rec,
        "user_feats": feats,
        "cold_start": ask.cold_start,
        "filter_consumed": ask.filter_consumed,
        "history": history or None,
        "context": ask.context,
        "candidates": ask.candidates,
        "exclude": exclude or None,
        "where": where_of(served.items, ask.where) if ask.where else None,
        "max_per_group": ask.max_per_group,
        "min_score": ask.min_score,
        "include_cold_items": ask.include_cold_items,
        "segment": ask.segment,
        "return_scores": True,
    }


def check_feats(info: DataInfo, feats: Mapping[str, object], argument: str) -> None:
    """Raise unless each value is one that its column can have."""
    of_column = {column: one for side in ("user", "item", "context") for one in info.schema.features(side)
                 for column in one.columns}  # fmt: skip
    check_columns(argument, feats, of_column)
    for name, value in feats.items():
        known = of_column[name]
        several: list[object] | None = value if isinstance(value, list) else None
        if known.kind == "vector":
            is_whole = several is not None and len(several) == known.width
            fits = is_whole and all(isinstance(one, int | float) for one in several or ())
            what = f"a list of {known.width} numbers"
        elif layout_of(known).part == "dense":
            fits, what = isinstance(value, int | float), "a number"
        elif known.lists:
            fits = several is not None and all(isinstance(one, int | str) for one in several)
            what = "a list of integers and texts"
        else:
            fits, what = isinstance(value, int | str), "an integer or a text"
        if value is not None and not fits:
            raise RefusedRequest((argument,), f"a value of the column {name!r} must be {what}")


def where_of(items: pd.DataFrame, conditions: Sequence[Condition]) -> nw.Expr:
    """Conditions that must all hold, as an expression of the frame of items."""
    parts = [_expression(items, one, at) for at, one in enumerate(conditions)]
    return reduce(lambda one, other: one & other, parts)


def _expression(items: pd.DataFrame, condition: Condition, at: int) -> nw.Expr:
    where, name, op = ("where", at), condition.column, condition.op
    if name not in items.columns:
        raise RefusedRequest((*where, "column"), _rule(items.columns.tolist()))
    column, expression = pd.Series(items[name]), nw.col(name)
    value: Any = int(condition.value) if isinstance(condition.value, bool) else condition.value
    if isinstance(value, list) != (op in SETS):
        raise RefusedRequest((*where, "value"), "'in' and 'not in' take a list, and the others a single value")
    if holds_lists(column):
        if op != "contains":
            raise RefusedRequest((*where, "op"), "the column holds lists: it must be 'contains'")
        found = [isinstance(one, list) and value in one for one in column]
        return nw.col("item").is_in(items["item"][found].tolist())
    if is_number(column):
        if op == "contains" or any(isinstance(one, str) for one in (value if isinstance(value, list) else [value])):
            raise RefusedRequest(where, "the column holds numbers: compare it with numbers")
    elif op in (*ORDERS, "contains") and not isinstance(value, str):
        raise RefusedRequest((*where, "value"), "the column holds text: compare it with text")
    elif op in ORDERS and not all(isinstance(one, str) for one in column.dropna()):
        raise RefusedRequest((*where, "op"), "the column holds integers and texts, which have no order")
    return ~expression.is_null() & _compared(expression, op, value)


def _compared(expression: nw.Expr, op: str, value: Any) -> nw.Expr:
    match op:
        case "==":
            return expression == value
        case "!=":
            return expression != value
        case "<":
            return expression < value
        case "<=":
            return expression <= value
        case ">":
            return expression > value
        case ">=":
            return expression >= value
        case "in":
            return expression.is_in(value)
        case "not in":
            return ~expression.is_in(value)
        case _:
            return expression.str.contains(value, literal=True)


def _histories(ask: RecommendRequest, consumed: Consumed) -> tuple[dict[Id, list[Id]], Any]:
    """What each user is scored from beside the model, and what lists may not have: of all users, or of each."""
    given = _per_user(ask, "history", ask.history, bool(ask.history) and isinstance((ask.history or [0])[0], list))
    if given is not None and ask.cold_start == "popular":
        raise RefusedRequest(("history",), "it says what users are scored from: it needs another cold_start")
    history: dict[Id, list[Id]] = {}
    left_out: dict[Id, list[Id]] = {}
    for at, user in enumerate(ask.users):
        items = history_of(user, [*history.get(user, ()), *(given[at] if given else ())], consumed)
        if items and ask.cold_start != "popular":
            history[user] = items[-MAX_HISTORY:]
        if ask.filter_consumed and len(items) > len(history.get(user, ())):
            left_out[user] = items
    if not left_out:
        return history, ask.exclude
    return history, {user: [*(ask.exclude or ()), *left_out.get(user, ())] for user in ask.users}


def history_of(user: Id, given: Sequence[Id], consumed: Consumed) -> list[Id]:
    """What a user consumed after training, the newest last: what is stored, and then what a request says."""
    stored = reversed(consumed.items.get(user, ()))  # the store has the newest first
    return [*dict.fromkeys(reversed([*stored, *given]))][::-1]  # of twice the same, the later


def _per_user(ask: RecommendRequest, argument: str, value: Any, is_list: bool) -> list[Any] | None:
    """A value that a request has for one user, or as a list with one for each."""
    if value is None:
        return None
    if not is_list:
        value = [value]
    if len(value) != len(ask.users):
        raise RefusedRequest((argument,), "it must be a list with one for each user, unless there is one user alone")
    return value


def _given(feats: Any) -> list[str]:
    """The columns of features."""
    if feats is None:
        return []
    return [name for one in (feats if isinstance(feats, list) else [feats]) for name in one]


def check_columns(argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise unless each name is one of the columns."""
    known = list(known)
    if any(name not in known for name in names):
        raise RefusedRequest((argument,), _rule(known))


def _rule(known: Iterable[str]) -> str:
    return f"it may name the columns {[*known]} of this model"
