"""What a caller wants of lists: the arguments, and what they mean in codes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.checks import check_bool, check_integer, check_names, check_number
from recolib.data.info import DataInfo
from recolib.data.rows import UNKNOWN, Codes
from recolib.inference.queries import Feats, Id, Ids, Strategy, coded_fields, item_codes, item_codes_each
from recolib.inference.top_k import GroupLimit
from recolib.inference.toplists import Finder, Rules

Where = Callable[[pd.DataFrame], object] | nw.Expr
"""Which items: a function from the frame of items to a boolean for each, or a narwhals expression of its columns."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Wish:
    """What is wanted of lists; see the arguments of ``recommend_user``."""

    n_rec: int
    user_feats: Feats | None = None
    cold_start: str | Strategy = "average"
    inner_id: bool = False
    filter_consumed: bool = True
    random_rec: bool = False
    context: Feats | None = None
    candidates: Ids | None = None
    exclude: Ids | Mapping[Any, Ids] | None = None
    where: Where | None = None
    max_per_group: Mapping[str, int] | None = None
    min_score: float | None = None
    include_cold_items: bool = False
    segment: str | Sequence[str] | None = None
    retriever: Finder | None = None
    history: Ids | Mapping[Any, Ids] | None = None

    def check(self, task: str) -> None:
        """Raise unless each is of its kind; what they say of the data is checked when it is read."""
        check_integer("n_rec", self.n_rec, 1)
        for name in ("filter_consumed", "random_rec", "inner_id", "include_cold_items"):
            check_bool(name, getattr(self, name))
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
        if self.history is not None and self.cold_start not in ("average", "features"):
            raise ValueError(
                "history says what a user is scored from: it needs cold_start='average' or 'features', "
                f"got {self.cold_start!r}"
            )

    def histories(self, info: DataInfo, users: Sequence[Id]) -> list[Codes] | None:
        """The codes of what each user met, each once; None if there is nothing of any.

        Raises
        ------
        ValueError
            If there are several users, and it is not said who met what.
        """
        history = self.history
        if history is None:
            return None
        if not isinstance(history, Mapping):
            if len(users) > 1:
                raise ValueError(f"history of several users must map each to the items that he met, got {history!r}")
            history = {users[0]: history}
        codes = [np.unique(own) for own in item_codes_each(info, "history", history, users, self.inner_id)]
        return codes if any(len(own) for own in codes) else None

    def rules(
        self,
        info: DataInfo,
        users: Sequence[Id],
        items: Callable[[], pd.DataFrame],
        predictions: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> Rules:
        """What may be in lists, in codes.

        Parameters
        ----------
        info
            The data.
        users
            Who is asked for.
        items
            Gives the frame of all items.
        predictions
            From logits to the scale of ``min_score``.
        generator
            What lists are drawn with, where they are.
        """
        candidates = item_codes(info, "candidates", self.candidates, self.inner_id)
        if self.where is not None:
            mask = items_where(items(), self.where)
            if candidates is None:
                offered = (
                    np.arange(1, info.n_items + 1, dtype=np.int32) if self.include_cold_items else info.trained_items
                )
                candidates = offered[mask[offered - 1]]
            else:
                candidates = candidates[mask[candidates - 1]]
        exclude, each = self.exclude, None
        if exclude is not None and isinstance(exclude, Mapping):
            exclude, each = None, item_codes_each(info, "exclude", exclude, users, self.inner_id)
        low = self.min_score
        return Rules(
            candidates,
            item_codes(info, "exclude", exclude, self.inner_id),
            self.filter_consumed,
            generator if self.random_rec else None,
            each,
            self.include_cold_items,
            None if low is None else lambda logits: predictions(logits) < low,
            read_limits(info, self.max_per_group),
        )


def read_limits(info: DataInfo, max_per_group: Mapping[str, int] | None) -> list[GroupLimit]:
    """How many items of each value may be in a list, of any sparse or multi-sparse columns of items."""
    if not max_per_group:
        return []
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
