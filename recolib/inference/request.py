"""Request: what a caller wants of lists, and what it means for an engine."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.checks import check_bool, check_integer, check_names, check_number
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.exceptions import warn
from recolib.inference.cold_start import SCORED_COLD_STARTS, Strategy, check_cold_start, segment_columns
from recolib.inference.engine import Engine, Retriever, UserBatch
from recolib.inference.features import Feats, coded_fields, described_users, read_once, user_rows
from recolib.inference.histories import Histories, read_histories, rows_with
from recolib.inference.ids import Id, Ids, item_codes, item_codes_each, read_codes
from recolib.inference.scoring import Encoded
from recolib.inference.top_k import GroupLimit
from recolib.inference.toplists import ItemFilter

Where = Callable[[pd.DataFrame], object] | nw.Expr
"""Which items: a function from the frame of items to a boolean for each, or a narwhals expression of its columns."""
Mask = NDArray[np.bool_]
FLAGS = ("inner_id", "filter_consumed", "random_rec", "include_cold_items")


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What is wanted of lists, for one user or all.

    ``recommend_user``, ``recommend`` and ``recommend_to`` have these arguments, and differ in what they return. Each
    argument is described at ``Recommender.recommend_user``.
    """

    n_rec: int = 10
    user_feats: Feats | None = None
    cold_start: str | Strategy = "average"
    inner_id: bool = False
    filter_consumed: bool = True
    random_rec: bool = False
    history: Histories | None = None
    seq: Histories | None = None
    context: Feats | None = None
    candidates: Ids | None = None
    exclude: Ids | Mapping[Any, Ids] | None = None
    where: Where | None = None
    max_per_group: Mapping[str, int] | None = None
    min_score: float | None = None
    include_cold_items: bool = False
    segment: str | Sequence[str] | None = None
    retriever: Retriever | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Request:
        """The request among the arguments of a method, ``Request.of(locals())``, by the names that they have here."""
        return cls(**{name: arguments[name] for name in cls.__dataclass_fields__})

    def resolve(self, engine: Engine, users: Ids, generator: torch.Generator, once: bool = False) -> UserBatch:
        """The users as an engine scores them, and which items their lists may have; all checks are made here.

        Parameters
        ----------
        engine
            Whose users and items are meant.
        users
            User ids, or codes with ``inner_id``.
        generator
            What lists are drawn with, where they are.
        once
            Whether a user who is named twice stands in the batch once.
        """
        self._check(engine.task)
        info = engine.data_info
        if self.segment is not None:
            segment_columns(info, self.segment)
        request = self
        if self.user_feats is not None:
            request = replace(self, user_feats=read_once(self.user_feats, "user_feats", "user"))
        brought = self.history if self.seq is None else self.seq
        described = partial(described_users, request.user_feats, brought)
        values, codes = read_codes(info, "user", users, self.inner_id, described=described)
        ids: list[Id] = values.tolist()
        if self.segment is not None and self.user_feats is None and not codes.all():
            warn("segment without user_feats: unknown users get what is popular with everybody")
        histories = self._histories(engine, ids)
        item_filter = self._item_filter(engine, ids, generator)
        rows = request._rows(engine, ids, codes, encode=histories is None)
        if histories is not None and engine.network.reads_past:
            assert isinstance(rows, Rows)
            item_filter = item_filter.without(histories)
            rows = engine.encoded_once(rows_with(info, rows, codes, histories, self.seq is not None))
            histories = None
        batch = UserBatch(values, codes, rows, item_filter, histories)
        if once:
            twice = pd.Index(values, dtype=values.dtype).duplicated()
            batch = batch.of(np.flatnonzero(~twice)) if twice.any() else batch
        return batch

    def known_users(self, engine: Engine) -> Ids:
        """All users that are known, as this request names them."""
        info = engine.data_info
        return np.arange(1, info.n_users + 1) if self.inner_id else info.vocabs["user"].values

    def _check(self, task: str) -> None:
        """Raise unless each argument is of its kind; what they say of the data is checked when it is read."""
        if self.cold_start != "average" or self.segment is not None:
            check_cold_start(self.cold_start, self.segment)
        if type(self.n_rec) is not int or self.n_rec < 1:
            check_integer("n_rec", self.n_rec, 1)
        for name in FLAGS:
            flag = getattr(self, name)
            if flag is not True and flag is not False:
                check_bool(name, flag)
        if self.where is not None and not callable(self.where) and not isinstance(self.where, nw.Expr):
            raise TypeError(
                f"where must be a function of the item frame, or a narwhals expression, got {type(self.where).__name__}"
            )
        if self.max_per_group is not None and not isinstance(self.max_per_group, Mapping):
            raise TypeError(f"max_per_group must map item columns to numbers of items, got {self.max_per_group!r}")
        if self.min_score is not None:
            check_number("min_score", self.min_score, -np.inf)
            if task == "ranking" and self.min_score > 1:
                raise ValueError(f"min_score must be at most 1, since predictions are probabilities: {self.min_score}")
        if self.history is not None and self.seq is not None:
            raise ValueError("history is what comes after training, and seq all there is: give one of them")
        for name, given in (("history", self.history), ("seq", self.seq)):
            if given is not None and self.cold_start not in SCORED_COLD_STARTS:
                raise ValueError(
                    f"{name} says what a user is scored from: it needs cold_start='average' or 'features', "
                    f"got {self.cold_start!r}"
                )

    def _histories(self, engine: Engine, users: Sequence[Id]) -> list[Codes] | None:
        """The codes of each user's history, in order, or each once if it is to be folded in; None if there is none."""
        name, history = ("history", self.history) if self.seq is None else ("seq", self.seq)
        if history is None:
            return None
        if self.seq is not None and not engine.network.reads_past:
            raise ValueError(
                "this model doesn't support arbitrary seq inference: EASE, SASRec, and models with history=True or "
                "item_to_item=True do; history=[…] folds items into a user's vector"
            )
        codes = read_histories(engine.data_info, name, history, users, self.inner_id)
        if codes is None or engine.network.reads_past:
            return codes
        return [np.unique(own) for own in codes]

    def _item_filter(self, engine: Engine, users: Sequence[Id], generator: torch.Generator) -> ItemFilter:
        """Which items lists may have, in codes."""
        info = engine.data_info
        candidates, exclude, each = self.candidates, self.exclude, None
        if candidates is not None:
            candidates = item_codes(info, "candidates", candidates, self.inner_id)
        if self.where is not None:
            mask = items_where(engine.item_frame, self.where)
            if candidates is None:
                every = np.arange(1, info.n_items + 1, dtype=np.int32)
                candidates = every if self.include_cold_items else info.trained_items
            candidates = candidates[mask[candidates - 1]]
        if isinstance(exclude, Mapping):
            exclude, each = None, item_codes_each(info, "exclude", exclude, users, self.inner_id)
        elif exclude is not None:
            exclude = item_codes(info, "exclude", exclude, self.inner_id)
        low, to_predictions = self.min_score, engine.to_predictions
        return ItemFilter(
            candidates,
            exclude,
            self.filter_consumed,
            generator if self.random_rec else None,
            each,
            self.include_cold_items,
            None if low is None else lambda logits: to_predictions(logits) < low,
            read_limits(info, self.max_per_group) if self.max_per_group else (),
        )

    def _rows(self, engine: Engine, ids: list[Id], codes: Codes, encode: bool) -> Rows | Encoded:
        """What users are scored from: cached states where the request brings nothing of its own."""
        average = self.cold_start != "features"
        plain = self.user_feats is None and self.context is None and not engine.data_info.has_context
        if encode and plain and (average or bool(codes.all())):
            return engine.rows_of("user", codes)
        return user_rows(engine.data_info, ids, codes, self.user_feats, self.context, average)


def read_limits(info: DataInfo, max_per_group: Mapping[str, int]) -> list[GroupLimit]:
    """How many items of each value may be in a list, of any sparse or multi-sparse columns of items."""
    fields = coded_fields(info, "item", list(max_per_group), "max_per_group")
    codes = info.items.current.codes.numpy()
    for name, most in max_per_group.items():
        check_integer(f"max_per_group[{name!r}]", most, 1)
    return [
        GroupLimit(np.maximum(codes[:, info.schema.span(field)], UNKNOWN), int(most))
        for field, most in zip(fields, max_per_group.values(), strict=True)
    ]


def items_where(items: pd.DataFrame, where: Where) -> Mask:
    """Whether each item is meant, (n_items,); where it is not known, it is not.

    Raises
    ------
    ValueError
        If a column does not exist, or there is not a boolean for each item.
    """
    try:
        if isinstance(where, nw.Expr):
            found: object = nw.from_native(items, eager_only=True).select(where.alias("where"))["where"].to_native()
        else:
            found = where(items.copy(deep=False))
    except (KeyError, AttributeError, nw.exceptions.ColumnNotFoundError) as error:
        _refuse_column(error, items)
        raise
    flat = found.ndim == 1 if isinstance(found, np.ndarray) else isinstance(found, pd.Series | list | tuple)
    if not flat:
        raise ValueError(f"where must give a boolean for each item, got {type(found).__name__}")
    mask = pd.Series(cast("Any", found))
    if len(mask) != len(items):
        raise ValueError(f"where gave {len(mask)} values for {len(items)} items")
    missing = mask.isna().to_numpy(bool)
    if not pd.api.types.is_bool_dtype(mask.dtype) and not all(
        isinstance(one, bool | np.bool_) for one in mask[~missing]
    ):
        raise ValueError(f"where must give a boolean for each item, got {mask.dtype}")
    return mask.astype(object).where(~missing, other=False).to_numpy(bool) if missing.any() else mask.to_numpy(bool)


def _refuse_column(error: Exception, items: pd.DataFrame) -> None:
    """Raise if an error says that a column is not there."""
    columns = list(items.columns)
    if isinstance(error, nw.exceptions.ColumnNotFoundError):
        raise ValueError(f"where names a column that items do not have: {' '.join(str(error).split())}") from error
    if isinstance(error, AttributeError):
        name = error.name if isinstance(error.obj, pd.DataFrame) else None
    else:
        *_, innermost = traceback.walk_tb(error.__traceback__)
        name = error.args[0] if innermost[0].f_globals.get("__name__", "").startswith("pandas") else None
    if isinstance(name, str):
        check_names([name], columns, "a column of items that where can use")
