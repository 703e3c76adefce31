"""Inference: from a frame to a plan, by the names of its columns and by what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from recolib.cli.plan import FeatureColumn, FeatureKind, FeatureSide, Plan, parts_of
from recolib.cli.tables import column, numeric

NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "userid", "uid", "customer", "customerid", "visitorid", "reviewerid", "memberid"),
    "item": (
        *("item", "itemid", "iid", "movieid", "productid", "articleid", "bookid", "songid", "trackid", "asin", "sku"),
        *("product", "movie", "isbn", "newsid", "gameid"),
    ),
    "label": ("label", "rating", "score", "stars", "overall", "click", "clicked"),
    "time": ("time", "timestamp", "date", "datetime", "unixtime", "unixreviewtime", "createdat", "ts"),
}
SAMPLED_ROWS = 200_000
FEW_VALUES = 24
"""Distinct whole numbers up to which a column holds categories, such as the hours of a day."""
SEPARATORS = "|;"
SEPARATED_SHARE = 0.2
TITLE_SHARE = 0.5
"""Distinct texts, as a share of the ids that they describe, from which on they are titles."""
LISTS = list, tuple, set, np.ndarray
NUMBERED = re.compile(r"(.*?)_?\d+")


def infer_plan(frame: pd.DataFrame, named: Mapping[str, str]) -> Plan:
    """What the columns of a frame are.

    Parameters
    ----------
    frame
        Events.
    named
        The columns of ``user``, ``item``, ``label`` and ``time`` that are known already.

    Raises
    ------
    ValueError
        If there is no column of users or of items.
    """
    columns = roles_of(frame, named)
    sample = frame.head(SAMPLED_ROWS)
    users, items = column(sample, columns["user"]), column(sample, columns["item"])
    features: dict[str, FeatureColumn] = {}
    for name in frame.columns:
        if name not in columns.values():
            values = column(sample, name)
            side = side_of(values, users, items)
            n_ids = len({"user": users, "item": items}.get(side, values.index).unique())
            kind, separator = kind_of(values, side, n_ids)
            features[name] = FeatureColumn(side, kind, separator)
    liked = None
    if "label" in columns:
        labels = numeric(column(frame, columns["label"])).dropna().to_numpy(np.float64)
        if len(np.unique(labels)) > 2:
            liked = float(labels[labels >= labels.mean()].min())
    return Plan(columns, with_groups(sample, features), liked=liked)


def roles_of(frame: pd.DataFrame, named: Mapping[str, str]) -> dict[str, str]:
    """The columns of users, items, labels and times, by the names that they usually have."""
    absent = [name for name in named.values() if name not in frame.columns]
    if absent:
        raise ValueError(f"columns {absent} are not in the data: {frame.columns.tolist()}")
    found = dict(named)
    simple = {name: re.sub(r"[^a-z]", "", str(name).lower()) for name in frame.columns if name not in named.values()}
    for role, names in NAMES.items():
        candidates = [column for name in names for column, one in simple.items() if one == name]
        if role not in found and candidates:
            found[role] = candidates[0]
            del simple[candidates[0]]
    for role in ("user", "item"):
        if role not in found:
            raise ValueError(f"which column is the {role}? Say --{role} NAME; there are {frame.columns.tolist()}")
    return {role: found[role] for role in NAMES if role in found}


def side_of(values: pd.Series, users: pd.Series, items: pd.Series) -> FeatureSide:
    """What a column describes: it has one value for each user, or each item, or else it is of the event."""
    if has_lists(values):
        values = values.map(repr)
    is_user, is_item = (bool((values.groupby(ids.to_numpy()).nunique() <= 1).all()) for ids in (users, items))
    if is_user and is_item:  # each id stands once, or there is one value alone: that with fewer ids says more
        return "user" if len(users.unique()) < len(items.unique()) else "item"
    return "user" if is_user else "item" if is_item else "context"


def kind_of(values: pd.Series, side: FeatureSide, n_ids: int) -> tuple[FeatureKind, str | None]:
    """The kind of a column, and what stands between the values of its texts."""
    if has_lists(values):
        return ("vector" if are_vectors(values) else "multi_sparse"), None
    present = values.dropna()
    n_values = len(present.unique())
    if n_values < 2:
        return "ignore", None
    if pd.api.types.is_bool_dtype(present.dtype) or set(map(type, present.head(100))) == {bool}:
        return "sparse", None
    if pd.api.types.is_integer_dtype(present.dtype):
        return ("sparse" if n_values <= FEW_VALUES else "dense"), None
    if pd.api.types.is_float_dtype(present.dtype):
        return "dense", None
    if not all(isinstance(one, str) for one in present):
        return "ignore", None
    for separator in SEPARATORS:
        if present.str.contains(separator, regex=False).mean() >= SEPARATED_SHARE:
            parts = {part for text in present.unique() for part in parts_of(text, separator) or ()}
            if len(parts) <= max(n_values, FEW_VALUES):
                return "multi_sparse", separator
    if n_values > max(FEW_VALUES, TITLE_SHARE * n_ids):
        return ("display" if side == "item" else "ignore"), None
    return "sparse", None


def with_groups(frame: pd.DataFrame, features: Mapping[str, FeatureColumn]) -> dict[str, FeatureColumn]:
    """Columns such as genre1, genre2 and genre3 as one feature, where they share values."""
    stems: dict[tuple[str, FeatureSide], list[str]] = {}
    for name, one in features.items():
        match = NUMBERED.fullmatch(name)
        if (
            match
            and one.kind == "sparse"
            and one.side != "context"
            and not pd.api.types.is_numeric_dtype(frame[name].dtype)
        ):
            stems.setdefault((match[1], one.side), []).append(name)
    grouped = dict(features)
    for (stem, side), names in stems.items():
        values = [set(frame[name].dropna().unique()) for name in names]
        if len(names) > 1 and set.intersection(*values):
            grouped |= dict.fromkeys(names, FeatureColumn(side, "multi_sparse", group=stem))
    return grouped


def are_vectors(values: pd.Series) -> bool:
    """Whether lists are of as many numbers each, some of them no integers."""
    sizes, kinds = set[int](), set[str]()
    for one in values.dropna().head(100):
        numbers = np.asarray(one)
        sizes.add(len(numbers))
        kinds.add(numbers.dtype.kind)
    return len(sizes) == 1 and kinds <= {"i", "f"} and "f" in kinds


def has_lists(values: pd.Series) -> bool:
    """Whether a column holds lists."""
    return values.dtype == object and any(isinstance(one, LISTS) for one in values.head(100))
