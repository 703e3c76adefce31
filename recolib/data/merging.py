"""More events merged into the data: codes stay; vocabularies, tables and consumed lists grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.checks import check_names
from recolib.data.building import Sources, feature_ids, is_separate, labels_of, times_of, weights_of
from recolib.data.consumed import Consumed, interactions
from recolib.data.display import display_with
from recolib.data.encoding import blank_rows, fill, overlay
from recolib.data.field import Field, Side
from recolib.data.frame import Frame, read_frame
from recolib.data.info import DataInfo, LabelStats
from recolib.data.interactions import Interactions
from recolib.data.kinds import Cells, kind_of
from recolib.data.log import NO_TIMES, ConsumedLog
from recolib.data.order import last_of
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.schema import Schema
from recolib.data.table import Table, changing_events, differ, table_of_events
from recolib.data.times import Times, before_all
from recolib.data.unseen import warn_of_unseen
from recolib.data.vocab import Vocab
from recolib.exceptions import warn

Pairs = tuple[Consumed, Consumed, NDArray[np.bool_]]
"""The distinct pairs by user and by item, and whether the user liked each of the pairs by user."""
SIDES: tuple[Side, Side] = ("user", "item")
NO_CODES = np.empty(0, np.int32)


def merge_events(
    frame: Frame,
    info: DataInfo,
    feature_frames: Sources,
    merge_behavior: bool = True,
    weight_col: str | None = None,
) -> tuple[Interactions, DataInfo]:
    """Encode further events; new users, items and values get codes behind those that are there.

    Without a ``time`` column they are later than all before. Features that neither events nor frames give stay as
    they were, and are unknown for new ids. The scale of numbers and the width of lists do not change.

    Parameters
    ----------
    frame
        The events, checked to have ``user``, ``item``, ``label`` and the context columns.
    info
        The data so far.
    feature_frames
        Frames of features by side, one row an id. Their features hold for the past, too.
    merge_behavior
        Whether what users consumed before still counts.
    weight_col
        The column of weights, if there is one.
    """
    if "label" not in frame.columns and not (info.labels.low >= 0 and info.labels.high == 1):
        raise ValueError(
            f"columns ['label'] are not in train_data: labels so far are {info.labels.low:g} to {info.labels.high:g}, "
            "so that a row without one says nothing"
        )
    labels = labels_of(frame)
    times = _later(info, times_of(frame)) if "time" not in frame.columns else times_of(frame)
    weights = weights_of(frame, info.schema, weight_col)
    vocabs, learnt = dict(info.vocabs), dict[str, Any]()
    for field in info.schema.fields:
        source = feature_frames[field.side] if is_separate(field, feature_frames) else frame
        if _has(source, field):
            learnt[field.name] = _encoded(source, field, vocabs)
    codes = {side: cast("Codes", learnt[side].reshape(-1)) for side in SIDES}
    tables, rows = dict[Side, Table](), dict[Side, Codes]()
    for side in SIDES:
        of_side = {field.name: learnt[field.name] for field in info.schema.features(side) if field.name in learnt}
        tables[side], rows[side] = _merged_side(info, side, vocabs, feature_frames, codes[side], times, of_side)
    consumed = _consumed(info, vocabs, codes["user"], codes["item"], labels, merge_behavior)
    size = info.data_size + len(labels)
    stats = LabelStats(
        (info.labels.mean * info.data_size + float(labels.sum(dtype=np.float64))) / size,
        min(info.labels.low, float(labels.min())),
        max(info.labels.high, float(labels.max())),
    )
    users, items = tables["user"], tables["item"]
    sources = [feature_frames["item"], frame] if "item" in feature_frames else [frame]
    display = display_with(info.display, info.display, vocabs["item"], sources)
    log_times = times if "time" in frame.columns else NO_TIMES
    log = _log(info, vocabs, codes["user"], codes["item"], labels, log_times, merge_behavior)
    grown = _grown(info, vocabs, {"users": users, "items": items, "display": display, "log": log}, consumed)
    merged = replace(grown, data_size=size, labels=stats)
    context = fill(blank_rows(info.schema, "context", len(labels)), info.schema, "context", learnt)
    return Interactions(
        merged, merged.users, items, rows["user"], rows["item"], labels, context, times, weights
    ), merged


def with_ids(info: DataInfo, side: Side, features: object) -> DataInfo:
    """The data with more users or items, which have features and no event, and with new features of known ones.

    Of known ids a column that the frame does not have, and a missing value, change nothing. What was true of their
    events stays.

    Parameters
    ----------
    info
        The data so far.
    side
        Users or items.
    features
        A frame with their ids and any feature columns of the side, one row each.

    Raises
    ------
    ValueError
        If a column is not one of the side's, or an id stands twice.
    """
    frame, vocabs = read_frame(features, [side], f"{side}_features"), dict(info.vocabs)
    own = [side, *info.schema.columns(side), *(info.display if side == "item" else ())]
    check_names(frame.columns, own, f"a column that {side}_features can have")
    for field in info.schema.features(side):
        if _has(frame, field) and field.name in vocabs:
            _encoded(frame, field, vocabs)
            new = vocabs[field.name].values[len(info.vocabs[field.name]) :]
            fate = "they are untrained until an update"
            warn_of_unseen(field.name, np.arange(len(new)), new, info.vocabs[field.name], fate)
    codes = feature_ids(frame, side, vocabs)
    blank = blank_rows(info.schema, side, len(vocabs[side]) - len(info.vocabs[side]))
    table, _ = info.table(side).with_ids(blank)
    rows, at = Rows(table.rows.codes.clone(), table.rows.dense.clone()), torch.from_numpy(codes).long()
    laid = overlay(rows[at], frame, info.schema, vocabs, side)
    rows.codes[at], rows.dense[at] = laid.codes, laid.dense
    display = display_with(info.display, info.display, vocabs["item"], [frame] if side == "item" else [])
    consumed = _consumed(info, vocabs, NO_CODES, NO_CODES, np.empty(0, np.float32), both=True)
    log = info.log.followed_by(NO_CODES, NO_CODES, NO_TIMES, len(vocabs["user"]))
    return _grown(info, vocabs, {f"{side}s": replace(table, rows=rows), "display": display, "log": log}, consumed)


def _grown(info: DataInfo, vocabs: Mapping[str, Vocab], tables: Mapping[str, Any], consumed: Pairs) -> DataInfo:
    """The data with more in it; it has the earlier fingerprint among its ancestors."""
    pairs = dict(zip(("user_consumed", "item_consumed", "liked"), consumed, strict=True))
    ancestors = tuple(dict.fromkeys((*info.ancestors, info.fingerprint)))
    grown = replace(info, vocabs=vocabs, ancestors=ancestors, **tables, **pairs)
    before = (info.n_users, info.n_items) if info.n_vectors is None else info.n_vectors
    now = (int(grown.table(side).rows.codes[:, 0].max()) for side in SIDES)
    n_users, n_items = map(max, before, now)
    return replace(grown, n_vectors=(n_users, n_items))


def _merged_side(
    info: DataInfo,
    side: Side,
    vocabs: dict[str, Vocab],
    feature_frames: Sources,
    codes: Codes,
    times: Times,
    learnt: Mapping[str, Any],
) -> tuple[Table, Codes]:
    """The table of one side, and the row of each event; may append ids to the side's vocabulary."""
    schema, old, own = info.schema, info.table(side), dict(learnt)
    separate: dict[str, Any] = {}
    of_frame = np.empty(0, np.int32)
    if side in feature_frames:
        of_frame = feature_ids(feature_frames[side], side, vocabs)
        separate = {name: own.pop(name) for name in list(own) if name in feature_frames[side].columns}
    n_old, n = len(old.current), len(vocabs[side]) + 1
    _warn_of_missing(schema, side, np.setdiff1d(codes[codes >= n_old], of_frame), own)

    rows = Rows.cat([old.current, blank_rows(schema, side, n - n_old), old.rows[n_old:]])
    had_vector = rows.codes[:n, 0].numpy() > UNKNOWN
    frame_row = last_of(of_frame, n)[np.concatenate([np.arange(n), old.owner[n_old:]])]
    at = np.flatnonzero(frame_row >= 0)
    fill(
        rows,
        schema,
        side,
        {name: values.take(frame_row[at], 0) for name, values in separate.items()},
        at,
    )

    history = old.history
    past = rows[torch.from_numpy(np.where(history.rows < n_old, history.rows, history.rows + n - n_old))]
    some = last_of(codes, n)
    seen = np.flatnonzero(some >= 0)
    before = rows[torch.from_numpy(seen)]
    rows.codes[seen, 0] = torch.from_numpy(seen.astype(np.int32))
    fill(rows, schema, side, {name: values.take(some[seen], 0) for name, values in own.items()}, seen)
    changes = np.zeros(n, bool)
    changes[codes[changing_events(codes, some, own.values())]] = True
    changes[seen[had_vector[seen] & differ(before, rows[torch.from_numpy(seen)])]] = True
    changes[history.codes] = True
    if not changes.any():
        return Table.of(rows), codes
    events = np.flatnonzero(changes[codes])
    of_events = {name: values.take(events, 0) for name, values in own.items()}
    shown = fill(rows[torch.from_numpy(codes[events])], schema, side, of_events)
    until_now = np.flatnonzero(changes[seen] & had_vector[seen] & ~np.isin(seen, history.codes))
    whose = [history.codes.astype(np.int32), seen[until_now].astype(np.int32), codes[events]]
    when = [history.times, np.full(len(until_now), before_all(times)), times[events]]
    table, row_of = table_of_events(
        rows[:n],
        np.concatenate(whose),
        Rows.cat([past, before[torch.from_numpy(until_now)], shown]),
        np.concatenate([some_times for some_times in when if len(some_times)]),
    )
    codes = codes.copy()
    codes[events] = row_of[len(row_of) - len(events) :]
    return table, codes


def _warn_of_missing(schema: Schema, side: Side, new: Codes, own: Mapping[str, Any]) -> None:
    """Warn of new ids whose features neither the events nor a feature frame give."""
    missing = [field.name for field in schema.features(side) if field.name not in own]
    if len(new) and missing:
        warn(f"{len(new)} new {side}s come without {missing}: these features are unknown")


def _has(frame: Frame, field: Field) -> bool:
    """Whether a frame has a field's columns; to have some of a group is an error."""
    missing = [column for column in field.columns if column not in frame.columns]
    if missing and len(missing) < len(field.columns):
        raise ValueError(f"columns {missing} are missing, which with {list(field.columns)} make a group")
    return not missing


def _encoded(frame: Frame, field: Field, vocabs: dict[str, Vocab]) -> Cells:
    """A field's values, (n, width); new ones are appended to its vocabulary."""
    vocab, values = kind_of(field).extend(frame, field, vocabs.get(field.name))
    if vocab is not None:
        vocabs[field.name] = vocab
    return values


def _later(info: DataInfo, order: Times) -> Times:
    """Times of events that are later than all before."""
    last = [table.history.times.max() for table in (info.users, info.items) if len(table.history.times)]
    return order + max([info.data_size, *(int(time) + 1 for time in last)])


def _log(
    info: DataInfo,
    vocabs: Mapping[str, Vocab],
    users: Codes,
    items: Codes,
    labels: NDArray[np.float32],
    times: Times,
    both: bool,
) -> ConsumedLog:
    """What each user consumed in order, with or without what they did earlier."""
    if info.consumed == "positive":
        liked = labels > 0
        users, items, times = users[liked], items[liked], times[liked] if len(times) else times
    add = info.log.followed_by if both else ConsumedLog.of
    return add(users, items, times, len(vocabs["user"]))


def _consumed(
    info: DataInfo, vocabs: Mapping[str, Vocab], users: Codes, items: Codes, labels: NDArray[np.float32], both: bool
) -> Pairs:
    """The pairs consumed and liked, with or without the earlier ones; what counts is what did so far."""
    liked = labels > 0
    if info.consumed == "positive":
        users, items, liked = users[liked], items[liked], liked[liked]
    if both:
        before = info.user_consumed
        owners = np.repeat(np.arange(len(before.starts) - 1, dtype=np.int32), before.counts())
        users, items = np.concatenate([owners, users]), np.concatenate([before.codes, items])
        liked = np.concatenate([info.liked, liked])
    return interactions(users, items, liked, len(vocabs["user"]), len(vocabs["item"]))
