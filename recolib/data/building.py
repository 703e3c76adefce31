"""From a frame to a DataInfo and encoded sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.consumed import Counting, counted_interactions, counting_of
from recolib.data.display import display_with
from recolib.data.encoding import blank_rows, fill, overlay
from recolib.data.field import Field, Side
from recolib.data.frame import Frame, factorize, read_column, read_numbers
from recolib.data.info import DataInfo, LabelStats
from recolib.data.interactions import Interactions, equal_weights
from recolib.data.kinds import Cells, kind_of
from recolib.data.log import NO_TIMES, ConsumedLog
from recolib.data.order import last_of, regrouped
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.schema import Schema
from recolib.data.table import Table, changing_events, table_of_events
from recolib.data.times import Times, read_times
from recolib.data.unseen import warn_of_mixed, warn_of_twins
from recolib.data.vocab import Vocab
from recolib.exceptions import NoLabelWarning, UndeclaredWeightWarning, warn

Sources = Mapping[Side, Frame]
"""Separate feature frames, by side."""


def build_training(
    frame: Frame,
    schema: Schema,
    feature_frames: Sources,
    scaling: str = "standard",
    weight_col: str | None = None,
    consumed: Counting | None = None,
    display_col: Sequence[str] = (),
) -> tuple[Interactions, DataInfo]:
    """Learn vocabularies and tables from a frame of events, and encode it.

    Parameters
    ----------
    frame
        The events, checked to have ``user``, ``item``, ``label`` and the feature columns that are not
        in ``feature_frames``.
    schema
        Its columns. Dense fields get their scale here, and lists their width.
    feature_frames
        Frames of features by side, one row an id; ids without events are appended to the vocabulary.
    scaling
        ``"standard"`` or ``"none"``.
    weight_col
        The column of weights, if there is one.
    consumed
        Which rows count as consumed; None chooses by the labels.
    display_col
        Columns of items that are kept to be shown.
    """
    labels = labels_of(frame)
    counting = consumed or counting_of(labels)
    times, weights = times_of(frame), weights_of(frame, schema, weight_col)
    vocabs: dict[str, Vocab] = {}
    fields: dict[str, Field] = {}
    learnt: dict[str, Cells] = {}
    for field in schema.fields:
        source = feature_frames[field.side] if is_separate(field, feature_frames) else frame
        fields[field.name], vocab, learnt[field.name] = kind_of(field).learn(source, field, scaling)
        if vocab is not None:
            vocabs[field.name] = vocab
    schema = Schema(tuple(fields[field.name] for field in schema.fields))

    sides: dict[Side, tuple[Table, Codes, Codes]] = {}
    for side in ("user", "item"):
        codes = learnt[side].reshape(-1).astype(np.int32, copy=False)
        sides[side] = (*_side_table(schema, side, codes, times, learnt, vocabs, feature_frames), codes)
    (users, user_rows, user_codes), (items, item_rows, item_codes) = sides["user"], sides["item"]

    n_users, n_items = len(vocabs["user"]), len(vocabs["item"])
    user_consumed, item_consumed, liked = counted_interactions(
        user_codes, item_codes, labels, n_users, n_items, counting
    )
    counted = labels > 0 if counting == "positive" else np.ones(len(labels), bool)
    log_times = times[counted] if "time" in frame.columns else NO_TIMES
    log = ConsumedLog.of(user_codes[counted], item_codes[counted], log_times, n_users)
    info = DataInfo(
        schema,
        vocabs,
        users,
        items,
        user_consumed,
        item_consumed,
        liked,
        log,
        len(labels),
        label_stats([labels]),
        n_vectors=(int(user_codes.max()), int(item_codes.max())),
        consumed=counting,
        display=display_with({}, display_col, vocabs["item"], [feature_frames.get("item", frame), frame]),
    )
    context = fill(blank_rows(schema, "context", len(labels)), schema, "context", learnt)
    return Interactions(info, info.users, items, user_rows, item_rows, labels, context, times, weights), info


def encode_evaluation(frame: Frame, info: DataInfo) -> Interactions:
    """Encode further events for evaluation: each points at rows of what the frame says of its user and its item.

    Where the frame says nothing, a known id has its present features, and an unknown one none.
    """
    times, weights = times_of(frame), equal_weights(len(frame))
    users, user_rows = _shown_side(frame, info, "user", times)
    items, item_rows = _shown_side(frame, info, "item", times)
    labels, context = observed_labels(frame), shown_context(frame, info)
    return Interactions(info, users, items, user_rows, item_rows, labels, context, times, weights)


def observed_labels(frame: Frame) -> NDArray[np.float32]:
    """The labels; NaN for each row of a log that has none."""
    if "label" not in frame.columns:
        return np.full(len(frame), np.nan, np.float32)
    return read_numbers(read_column(frame, "label"), "label", missing=False).astype(np.float32)


def shown_context(frame: Frame, info: DataInfo) -> Rows:
    """The context of each row."""
    return overlay(blank_rows(info.schema, "context", len(frame)), frame, info.schema, info.vocabs, "context")


def says_history(columns: Sequence[str], info: DataInfo, side: Side) -> bool:
    """Whether rows of these columns say when all features of a side changed."""
    return "time" in columns and all(column in columns for column in info.schema.columns(side))


def _side_table(
    schema: Schema,
    side: Side,
    codes: Codes,
    times: Times,
    learnt: Mapping[str, Cells],
    vocabs: dict[str, Vocab],
    feature_frames: Sources,
) -> tuple[Table, Codes]:
    """The table of one side and the row of each event; may append ids to the side's vocabulary."""
    blank, names = blank_side(schema, side, learnt, vocabs, feature_frames)
    own = {name: learnt[name] for name in names}
    some = last_of(codes, len(blank))
    seen = np.flatnonzero(some >= 0)
    fill(blank, schema, side, {name: values.take(some[seen], 0) for name, values in own.items()}, seen)
    changing = changing_events(codes, some, own.values())
    if not len(changing):
        return Table.of(blank), codes
    of_changing = {name: values.take(changing, 0) for name, values in own.items()}
    events = fill(blank[torch.from_numpy(codes[changing])], schema, side, of_changing)
    table, rows = table_of_events(blank, codes[changing], events, times[changing])
    codes = codes.copy()
    codes[changing] = rows
    return table, codes


def blank_side(
    schema: Schema, side: Side, learnt: Mapping[str, Cells], vocabs: dict[str, Vocab], feature_frames: Sources
) -> tuple[Rows, list[str]]:
    """The row of each id with what a feature frame says of it, and the fields that events have.

    May append ids to the side's vocabulary.
    """
    trained, names = len(vocabs[side]), [field.name for field in schema.features(side)]
    separate: dict[str, Cells] = {}
    feature_codes: Codes | None = None
    if side in feature_frames:
        feature_codes = feature_ids(feature_frames[side], side, vocabs)
        _warn_of_missing(side, trained, feature_codes)
        separate = {name: learnt[name] for name in names if name in feature_frames[side].columns}
    blank = blank_rows(schema, side, len(vocabs[side]) + 1)
    blank.codes[: trained + 1, 0] = torch.arange(trained + 1, dtype=torch.int32)
    if feature_codes is not None:
        fill(blank, schema, side, separate, feature_codes)
    return blank, [name for name in names if name not in separate]


def feature_ids(frame: Frame, side: Side, vocabs: dict[str, Vocab]) -> Codes:
    """The codes of a feature frame's ids; unseen ids are appended to the vocabulary."""
    positions, ids = factorize(read_column(frame, side), side, ids=True)
    if len(ids) < len(positions):
        twice = ids[np.bincount(positions) > 1][:3].tolist()
        raise ValueError(f"{side}_features must have one row for each {side}; several rows of {twice}")
    warn_of_mixed(side, positions, ids, vocabs[side], is_id=True)
    vocabs[side] = vocabs[side].extend(ids)
    return vocabs[side].encode(ids)[positions]


def _warn_of_missing(side: Side, n_trained: int, feature_codes: Codes) -> None:
    n_without = n_trained - int((feature_codes <= n_trained).sum())
    if n_without:
        warn(f"{n_without} {side}s of the data are not in {side}_features: their features are unknown")


def _shown_side(frame: Frame, info: DataInfo, side: Side, times: Times) -> tuple[Table, Codes]:
    """A side's table with rows of what a frame says of known and unknown ids behind it, and the row of each event."""
    positions, ids = factorize(read_column(frame, side), side, ids=True)
    codes, table = info.vocabs[side].encode(ids), info.table(side)
    is_new = codes == UNKNOWN
    warn_of_twins(f"column {side!r}", ids[is_new], info.vocabs[side])
    owners = np.where(is_new, -np.cumsum(is_new), codes).astype(np.int32)[positions]
    now = table.rows[torch.from_numpy(np.maximum(owners, UNKNOWN))]
    shown = overlay(now, frame, info.schema, info.vocabs, side)
    return table.with_events(owners, shown, times, keep_history=says_history(frame.columns, info, side))


def is_separate(field: Field, feature_frames: Sources) -> bool:
    """Whether a field is read from a frame of features, and not from the events."""
    source = feature_frames.get(field.side)
    return source is not None and not field.is_id and field.name in source.columns


def labels_of(frame: Frame) -> NDArray[np.float32]:
    """The labels; 1 for each row of a log that has none, of which there is a warning: the column may be misspelt."""
    if "label" in frame.columns:
        return read_numbers(read_column(frame, "label"), "label", missing=False).astype(np.float32)
    warn_of_no_label(len(frame))
    return np.ones(len(frame), np.float32)


def warn_of_no_label(n: int) -> None:
    """Warn that each of n rows counts as an interaction."""
    warn(
        f"train_data has no column 'label': each of its {n} rows counts as an interaction, with label 1", NoLabelWarning
    )


def label_stats(parts: Iterable[NDArray[np.float32]]) -> LabelStats:
    """Mean, lowest and highest label, of sums that are the same however the rows are divided into parts."""
    n, total, low, high = 0, 0.0, np.inf, -np.inf
    for block in regrouped(parts):
        n, total = n + len(block), total + float(block.sum(dtype=np.float64))
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return LabelStats(total / n, low, high)


def times_of(frame: Frame) -> Times:
    """When each event happened; without a column ``time``, their order."""
    if "time" in frame.columns:
        return read_times(read_column(frame, "time"), "time")
    return np.arange(len(frame))


def weights_of(frame: Frame, schema: Schema, weight_col: str | None) -> NDArray[np.float32]:
    """How much each event counts: the numbers of ``weight_col``, else 1."""
    if weight_col is None:
        warn_of_undeclared_weight(frame.columns, schema)
        return equal_weights(len(frame))
    weights = read_weights(frame, weight_col)
    refuse_no_weight(bool(weights.any()), weight_col)
    return weights


def warn_of_undeclared_weight(columns: Sequence[str], schema: Schema) -> None:
    """Warn of a column ``weight`` that is neither that of weights nor a feature: it may be a product's."""
    is_feature = any("weight" in field.columns for field in schema.fields)
    if "weight" in columns and not is_feature:
        warn(
            "column 'weight' is not used: pass weight_col='weight' if it is how much a row counts, or declare it "
            "as a feature",
            UndeclaredWeightWarning,
        )


def read_weights(frame: Frame, weight_col: str) -> NDArray[np.float32]:
    """The numbers of a column of weights, none of which is negative."""
    weights = read_numbers(read_column(frame, weight_col), weight_col, missing=False).astype(np.float32)
    if weights.min() < 0:
        raise ValueError(
            f"column {weight_col!r} must not be negative, found {weights.min():g}: it is how much a row counts"
        )
    return weights


def refuse_no_weight(counts: bool, weight_col: str) -> None:
    """Raise unless some row counts."""
    if not counts:
        raise ValueError(f"column {weight_col!r} is 0 in all rows: leave weight_col out, or let some rows count")


def check_weight_col(weight_col: str | None, schema: Schema) -> list[str]:
    """The column of weights as a list of those that a frame needs; raise if it is another of the data's."""
    if weight_col is None:
        return []
    if not isinstance(weight_col, str):
        raise TypeError(f"weight_col must be the name of a column, got {weight_col!r}")
    if weight_col in ("user", "item", "label", "time") or any(weight_col in field.columns for field in schema.fields):
        raise ValueError(f"weight_col={weight_col!r} is a column of another use: a weight is no feature")
    return [weight_col]
