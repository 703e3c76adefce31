"""From a source to a DataInfo and a set whose large arrays lie in files: what ``build_training`` makes of a frame."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recolib.data.building import (
    Sources,
    blank_side,
    is_separate,
    label_stats,
    refuse_no_weight,
    warn_of_no_label,
    warn_of_undeclared_weight,
)
from recolib.data.consumed import Counting
from recolib.data.display import display_with, pack_display
from recolib.data.encoding import blank_rows, fill
from recolib.data.field import Field, Side
from recolib.data.frame import factorize, read_column
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.kinds import Cells, Learnt, kind_of
from recolib.data.packing import pack_table, pack_vocabs
from recolib.data.schema import Schema
from recolib.data.streaming.array_files import ArrayFiles
from recolib.data.streaming.caching import FORMAT, check_cached, folder_of
from recolib.data.streaming.finished import FINISHED, SetHeader, open_set, read_finished, write_finished
from recolib.data.streaming.part_files import FOLDER
from recolib.data.streaming.sides import SideEvents
from recolib.data.streaming.sorting import sort_log
from recolib.data.streaming.sources import Source
from recolib.data.streaming.spooling import Spool, SpooledPart, Wanted, spool
from recolib.data.table import Table
from recolib.data.vocab import Vocab
from recolib.exceptions import telling_once
from recolib.files import prefixed

KIND = "training set"
SIDES: tuple[Side, ...] = ("user", "item")


@dataclass(frozen=True)
class Arguments:
    """What ``build_trainset`` is to make of a source, as ``build_training`` has it."""

    schema: Schema
    feature_frames: Sources
    scaling: str
    weight_col: str | None
    consumed: Counting | None
    display_col: Sequence[str]


def stream_training(
    source: Source, arguments: Arguments, cache_dir: str | os.PathLike[str] | None
) -> tuple[Interactions, DataInfo]:
    """Learn vocabularies and tables from a source, and encode it into files.

    Parameters
    ----------
    source
        The events.
    arguments
        Their columns, and what is to be made of them.
    cache_dir
        The folder of the files. One that has some of this source and these arguments is gone on with. By default files
        have no name once the set is made, so that their room is free when nothing uses the set any more.

    Raises
    ------
    ValueError
        If a part holds what it must not, if an argument is none that parts can have, or if the folder has files of
        another source, of other arguments, damaged ones or others.
    """
    fields = {one.name: one for one in arguments.schema.fields if not is_separate(one, arguments.feature_frames)}
    _refuse(fields.values(), arguments, source)
    with telling_once():
        given = {
            field.name: kind_of(field).learn(arguments.feature_frames[field.side], field, arguments.scaling)
            for field in arguments.schema.fields
            if field.name not in fields
        }
        with folder_of(source, cache_dir, lambda: _digest(arguments, given)) as folder:
            return _build(source, arguments, fields, given, folder)


def _refuse(fields: Any, arguments: Arguments, source: Source) -> None:
    """Raise where an argument asks for what cannot be had of parts."""
    for field in fields:
        kind = kind_of(field)
        if field.lists and kind.in_parts and not field.width:
            raise ValueError(
                f"multi_sparse_col={list(field.columns)} is a column of lists in train_data, which is read in parts: "
                f"say by max_list_len how long they may be, or give them in {field.side}_features"
            )
        if not kind.in_parts:
            raise ValueError(
                f"{kind.name}_col={list(field.columns)} cannot be in train_data where that is read in parts: give it "
                "in user_features or item_features"
            )
    items = arguments.feature_frames.get("item")
    shown = [name for name in arguments.display_col if items is None or name not in items.columns]
    if shown:
        raise ValueError(f"display_col={shown} must be in item_features where train_data is read in parts")
    warn_of = source.columns if arguments.weight_col is None else []
    warn_of_undeclared_weight(warn_of, arguments.schema)


def _digest(arguments: Arguments, given: Mapping[str, Learnt]) -> str:
    """A hash of all that a set is made of beside its source."""
    plain = [arguments.schema.to_json(), arguments.scaling, arguments.weight_col, arguments.consumed]
    hashed = hashlib.sha256(json.dumps([FORMAT, *plain, list(arguments.display_col)]).encode())
    for name, learnt in given.items():
        hashed.update(f"{name} {learnt.cells.dtype.str} {learnt.cells.shape} {learnt.field}".encode())
        hashed.update(np.ascontiguousarray(learnt.cells).tobytes())
        hashed.update(repr([] if learnt.vocab is None else learnt.vocab.values.tolist()).encode())
    for side, frame in arguments.feature_frames.items():
        positions, ids = factorize(read_column(frame, side), side, ids=True)
        hashed.update(f"{side} {ids[positions].tolist()!r}".encode())
        for name in arguments.display_col if side == "item" else ():
            positions, values = factorize(read_column(frame, name), name)
            hashed.update(f"{name} {values.tolist()!r}".encode() + positions.tobytes())
    return hashed.hexdigest()


def _build(
    source: Source, arguments: Arguments, fields: Mapping[str, Field], given: Mapping[str, Learnt], folder: Path
) -> tuple[Interactions, DataInfo]:
    of_rows = [name for name in ("label", "time") if name in source.columns]
    weights = [] if arguments.weight_col is None else [arguments.weight_col]
    columns = [*of_rows, *weights, *(column for field in fields.values() for column in field.columns)]
    wanted, parts = Wanted(fields, columns, arguments.weight_col), folder / FOLDER
    if (folder / FINISHED).is_file():
        header, arrays = read_finished(folder, KIND)
        check_cached(folder, header, source, columns)
    else:
        parts.mkdir(exist_ok=True)
        header, arrays = _encode(spool(source, wanted, parts), arguments, given, folder)
        write_finished(folder, KIND, header, arrays)
    shutil.rmtree(parts, ignore_errors=True)
    if "label" not in source.columns:
        warn_of_no_label(header["data_size"])
    return open_set(folder, header, arrays)


def _encode(
    spooled: Spool, arguments: Arguments, given: Mapping[str, Learnt], folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The second pass: write all arrays, and give what else the set is made of."""
    schema, vocabs = _learn(spooled, arguments, given)
    learnt = {name: one.cells for name, one in given.items()}
    sides: dict[Side, SideEvents] = {}
    for side in SIDES:
        blank, names = blank_side(schema, side, learnt, vocabs, arguments.feature_frames)
        sides[side] = SideEvents(schema, side, blank, names)
    files = ArrayFiles(folder)
    fields = [field for field in schema.fields if field.name in spooled.wanted.fields]
    highest = _write_events(files, spooled, schema, vocabs, sides)
    tables: dict[Side, tuple[Table, str]] = {}
    for side, events in sides.items():
        own = [field for field in fields if field.name in events.names]
        tables[side] = events.table(files, _settled(spooled, own, vocabs))
    labels = label_stats(block for _, (block,) in files.blocks("labels"))
    counting: Counting = arguments.consumed or ("positive" if spooled.is_binary else "all")
    n_users, n_items = len(vocabs["user"]), len(vocabs["item"])
    starts = sort_log(files, n_users, n_items, counting, spooled.wanted.has_times)
    items = [arguments.feature_frames[side] for side in ("item",) if side in arguments.feature_frames]
    display = display_with({}, arguments.display_col, vocabs["item"], items)
    rows: dict[Side, str] = {side: tables[side][1] for side in SIDES}
    header = SetHeader(
        schema.to_json(),
        spooled.keys,
        rows,
        len(spooled),
        labels,
        highest,
        counting,
        list(display),
        spooled.wanted.has_times,
        files.entries,
    )
    arrays = prefixed("starts", {**starts, "parts": spooled.starts}) | dict(pack_display(display))
    arrays |= pack_vocabs(vocabs)
    for side in SIDES:
        arrays |= prefixed(f"{side}s", pack_table(tables[side][0]))
    return header.to_json(), arrays


def _learn(spooled: Spool, arguments: Arguments, given: Mapping[str, Learnt]) -> tuple[Schema, dict[str, Vocab]]:
    """The fields as all parts define them, and their vocabularies."""
    fields, vocabs = list[Field](), dict[str, Vocab]()
    for field in arguments.schema.fields:
        if field.name in given:
            learnt, vocab, _ = given[field.name]
        else:
            learnt, vocab = kind_of(field).learn_parts(field, spooled.seen[field.name], arguments.scaling)
        fields.append(learnt)
        if vocab is not None:
            vocabs[field.name] = vocab
    return Schema(tuple(fields)), vocabs


def _settled(
    spooled: Spool, fields: Sequence[Field], vocabs: Mapping[str, Vocab]
) -> Iterator[tuple[slice, dict[str, Cells]]]:
    """The cells of some fields, part by part, with the numbers of the rows."""
    for at, part in spooled.parts():
        yield at, _cells(part, fields, vocabs)


def _cells(part: SpooledPart, fields: Sequence[Field], vocabs: Mapping[str, Vocab]) -> dict[str, Cells]:
    return {
        field.name: kind_of(field).settle(part.field(field.name), field, vocabs.get(field.name)) for field in fields
    }


def _write_events(
    files: ArrayFiles, spooled: Spool, schema: Schema, vocabs: Mapping[str, Vocab], sides: Mapping[Side, SideEvents]
) -> tuple[int, int]:
    """Write what stands in each event, and give the highest codes of users and of items."""
    wanted, counts, highest = spooled.wanted, False, (0, 0)
    columns: dict[str, tuple[str, tuple[int, ...]]] = {
        "user_codes": ("<i4", ()),
        "item_codes": ("<i4", ()),
        "labels": ("<f4", ()),
        "times": (spooled.time_type, ()),
        "context_codes": ("<i4", (schema.n_codes("context"),)),
        "context_dense": ("<f4", (schema.n_dense("context"),)),
    }
    if wanted.weight_col is not None:
        columns["weights"] = ("<f4", ())
    fields = [field for field in schema.fields if field.name in wanted.fields]
    with files.writing(columns) as writing:
        for at, part in spooled.parts():
            cells = _cells(part, fields, vocabs)
            users, items = cells["user"].reshape(-1), cells["item"].reshape(-1)
            highest = max(highest[0], int(users.max())), max(highest[1], int(items.max()))
            context = fill(blank_rows(schema, "context", len(users)), schema, "context", cells)
            times = part.array("times") if wanted.has_times else np.arange(at.start, at.stop)
            writing.write(user_codes=users, item_codes=items, labels=part.array("labels"), times=times)
            writing.write(context_codes=context.codes.numpy(), context_dense=context.dense.numpy())
            if wanted.weight_col is not None:
                weights = part.array("weights")
                counts = counts or bool(weights.any())
                writing.write(weights=weights)
            sides["user"].add(users.astype(np.int32, copy=False), cells)
            sides["item"].add(items.astype(np.int32, copy=False), cells)
        if wanted.weight_col is not None:
            refuse_no_weight(counts, wanted.weight_col)
    return highest
