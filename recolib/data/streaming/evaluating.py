"""From a source to an evaluation set whose large arrays lie in files: what ``encode_evaluation`` makes of a frame.

Vocabularies are known, so that each part is encoded as it comes. Rows of what the parts show, and the tables do not
have, are numbered when all are known: until then an event has a number below 0 in place of such a row.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.building import observed_labels, says_history, shown_context
from recolib.data.encoding import overlay
from recolib.data.field import SIDES, Side
from recolib.data.frame import Frame, as_values, factorize, joined_values, read_column
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions, equal_weights
from recolib.data.packing import pack_table
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.streaming.array_files import ArrayFiles
from recolib.data.streaming.caching import FORMAT, check_cached, folder_of
from recolib.data.streaming.finished import FINISHED, entries_of, read_finished, write_finished
from recolib.data.streaming.sides import MAX_CHANGING
from recolib.data.streaming.sources import Source, families_of
from recolib.data.streaming.spooling import SameTypes, naming
from recolib.data.table import Table, bits_of
from recolib.data.times import read_moments
from recolib.data.unseen import warn_of_twins
from recolib.data.vocab import Vocab
from recolib.exceptions import telling_once
from recolib.files import Arrays, prefixed, require, under

KIND = "evaluation set"
EVENT_SIDES: tuple[Side, ...] = ("user", "item")
MAX_WAITING = 2**19
"""Rows of parts that wait to be joined with those known, at least."""
Versions = NDArray[np.int32]
"""Rows of what events show, as ``bits_of`` has them."""


def stream_evaluation(source: Source, info: DataInfo, cache_dir: str | os.PathLike[str] | None = None) -> Interactions:
    """Encode a source for evaluation into files, as ``encode_evaluation`` encodes a frame.

    Parameters
    ----------
    source
        The events, with any of the feature columns of the data.
    info
        The data that the set belongs to.
    cache_dir
        The folder of the files, as in ``stream_training``. A build that was interrupted begins anew in it.

    Raises
    ------
    ValueError
        If a part lacks a column or holds what it must not, or the folder has files of something else.
    """
    there = source.columns
    absent = [column for column in ("user", "item", *info.context_col) if column not in there]
    if absent:
        raise ValueError(f"columns {absent} are not in {source.argument}: {list(there)}")
    features = [column for side in SIDES for column in info.schema.columns(side) if column in there]
    columns = list(dict.fromkeys(["user", "item", *(name for name in ("label", "time") if name in there), *features]))
    with telling_once(), folder_of(source, cache_dir, lambda: _digest(info, columns)) as folder:
        if (folder / FINISHED).is_file():
            header, arrays = read_finished(folder, KIND)
            check_cached(folder, header, source, columns)
            files = ArrayFiles(folder, entries_of(header))
        else:
            files = ArrayFiles(folder)
            keys, arrays = _encode(source, columns, info, files)
            entries = {name: asdict(entry) for name, entry in files.entries.items()}
            write_finished(folder, KIND, {"keys": keys, "entries": entries}, arrays)
        return _opened(info, columns, files, arrays)


def _digest(info: DataInfo, columns: list[str]) -> str:
    """A hash of all that a set is made of beside its source."""
    hashed = hashlib.sha256(json.dumps([FORMAT, KIND, info.fingerprint, columns]).encode())
    for side in EVENT_SIDES:
        for name, array in pack_table(info.table(side)).items():
            hashed.update(f"{side} {name} {array.dtype.str} {array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _opened(info: DataInfo, columns: Sequence[str], files: ArrayFiles, arrays: Arrays) -> Interactions:
    tables: dict[Side, Table] = {}
    for side in EVENT_SIDES:
        own = under(f"{side}s", arrays)
        keep_history = says_history(columns, info, side)
        tables[side] = info.table(side).with_versions(
            own["versions"], own["codes"], own["times"], own["rows"], keep_history
        )
    codes, dense = (torch.from_numpy(files.mapped(f"context_{part}")) for part in ("codes", "dense"))
    rows, labels = {side: files.mapped(f"{side}_rows") for side in EVENT_SIDES}, files.mapped("labels")
    return Interactions(
        info,
        tables["user"],
        tables["item"],
        rows["user"],
        rows["item"],
        labels,
        Rows(codes, dense),
        files.mapped("times"),
        equal_weights(len(labels)),
        arrays["starts"],
    )


def _encode(
    source: Source, columns: list[str], info: DataInfo, files: ArrayFiles
) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """Write all arrays; give what tells the parts from others, and what the tables are made of."""
    sides: dict[Side, ShownSide] = {side: ShownSide(info, side) for side in EVENT_SIDES}
    keys, sizes, types, same = list[str](), [0], list[np.dtype[Any]](), SameTypes()
    arrays = {
        "labels": ("<f4", ()),
        "context_codes": ("<i4", (info.schema.n_codes("context"),)),
        "context_dense": ("<f4", (info.schema.n_dense("context"),)),
    }
    with files.writing(
        arrays | {"shown_users": ("<i4", ()), "shown_items": ("<i4", ()), "shown_times": ("<i8", ())}
    ) as writing:
        for part in source.parts(columns):
            keys.append(part.key)
            if not part.n_rows:
                continue
            frame = part.read(columns)
            with naming(part):
                require(len(frame) == part.n_rows, f"it has {part.n_rows} rows")
                times, form = np.arange(sum(sizes), sum(sizes) + len(frame)), ""
                if "time" in columns:
                    times, form = read_moments(read_column(frame, "time"), "time")
                context = shown_context(frame, info)
                rows = {f"shown_{side}s": sides[side].add(frame) for side in EVENT_SIDES}
                labels = observed_labels(frame)
            same.check(part.name, families_of(frame, columns), form)
            writing.write(labels=labels, shown_times=times.view(np.int64), **rows)
            writing.write(context_codes=context.codes.numpy(), context_dense=context.dense.numpy())
            sizes.append(len(frame))
            types.append(times.dtype)
    if not types:
        raise ValueError(f"{source.argument} has no rows")
    starts = np.cumsum(sizes, dtype=np.int64)
    shown = _number(files, info, columns, sides, starts, types)
    return keys, {"starts": starts, **shown}


def _number(
    files: ArrayFiles,
    info: DataInfo,
    columns: Sequence[str],
    sides: Mapping[Side, ShownSide],
    starts: NDArray[np.int64],
    types: Sequence[np.dtype[Any]],
) -> dict[str, NDArray[Any]]:
    """Write times of one type and the rows of events, now that all are known; give what the tables are made of."""
    time_type = np.result_type(*types)
    arrays: dict[str, NDArray[Any]] = {}
    shown_times = files.mapped("shown_times")
    with files.writing({"times": (time_type.str, ())}) as writing:
        for at, dtype in zip(starting(starts), types, strict=True):
            writing.write(times=shown_times[at].view(dtype))
    times = files.mapped("times")
    for side, shown in sides.items():
        versions = shown.distinct()
        changing = info.table(side).changing(versions, says_history(columns, info, side))
        of_events, events = files.mapped(f"shown_{side}s"), list[tuple[Codes, NDArray[Any], Codes]]()
        n_events = 0
        with files.writing({f"{side}_rows": ("<i4", ())}) as writing:
            for at in starting(starts):
                rows, owners = shown.numbered(of_events[at])
                writing.write(**{f"{side}_rows": rows})
                some = np.flatnonzero(np.isin(owners, changing)) if len(changing) else np.empty(0, np.int64)
                n_events += len(some)
                _refuse_many(n_events, side)
                events.append((owners[some], times[at][some], rows[some]))
        codes, moments, rows = (np.concatenate(one) for one in zip(*events, strict=True))
        arrays |= prefixed(f"{side}s", {"versions": versions, "codes": codes, "times": moments, "rows": rows})
    for name in ("users", "items", "times"):
        del files.entries[f"shown_{name}"]
        with suppress(OSError):  # Windows removes no file that is mapped
            files.file(f"shown_{name}").unlink()
    return arrays


def starting(starts: NDArray[np.int64]) -> Iterator[slice]:
    """The rows of each part."""
    return (slice(low, high) for low, high in pairwise(starts.tolist()))


class ShownSide:
    """What the events of one side show, part by part, that its table does not have."""

    def __init__(self, info: DataInfo, side: Side) -> None:
        self.side: Side = side
        self.info, self.table = info, info.table(side)
        self._unknown = Vocab(as_values(()))
        self._n, self._n_distinct = 0, 0
        no_versions = bits_of(np.empty(0, np.int32), self.table.rows[:0])
        self._versions, self._numbers = [no_versions], [np.empty(0, np.int64)]

    def add(self, frame: Frame) -> Codes:
        """The row of each event of a part; −1, −2, … for those that are behind the table's, to be ``numbered``."""
        positions, ids = factorize(read_column(frame, self.side), self.side, ids=True)
        vocab = self.info.vocabs[self.side]
        codes = vocab.encode(ids)
        is_new = codes == UNKNOWN
        unknown = ids[is_new]
        if len(unknown):
            warn_of_twins(f"column {self.side!r}", unknown, vocab)
            fresh = unknown[self._unknown.encode(unknown) == UNKNOWN]
            self._unknown = Vocab(joined_values([self._unknown.values, fresh]))
            codes[is_new] = -self._unknown.encode(unknown)
        owners = codes[positions]
        now = self.table.rows[torch.from_numpy(np.maximum(owners, UNKNOWN))]
        shown = overlay(now, frame, self.info.schema, self.info.vocabs, self.side)
        own, rows = self.table.differing(owners, shown), np.maximum(owners, UNKNOWN)
        versions, version = np.unique(bits_of(owners[own], shown[torch.from_numpy(own)]), axis=0, return_inverse=True)
        rows[own] = -1 - self._n - version.reshape(-1)
        self._n += len(versions)
        self._numbers.append(np.arange(len(versions)) + sum(map(len, self._versions)))
        self._versions.append(versions)
        if sum(map(len, self._versions)) > 2 * max(self._n_distinct, MAX_WAITING):
            self.distinct()
        return rows

    def distinct(self) -> Versions:
        """All rows so far behind those of the table, each once and in order."""
        versions, number = np.unique(np.concatenate(self._versions), axis=0, return_inverse=True)
        _refuse_many(len(versions), self.side)
        self._versions, self._numbers = [versions], [number.reshape(-1)[np.concatenate(self._numbers)]]
        self._n_distinct = len(versions)
        return versions

    def numbered(self, rows: Codes) -> tuple[Codes, Codes]:
        """The rows of events, now that all are ``distinct``, and whose they are."""
        ((versions,), (numbers,)) = self._versions, self._numbers
        number = numbers[-1 - rows[rows < 0]]
        numbered, owners = rows.copy(), rows.copy()
        numbered[rows < 0] = len(self.table.rows) + number
        owners[rows < 0] = versions[number, 0]
        return numbered, owners


def _refuse_many(n: int, side: Side) -> None:
    if n > MAX_CHANGING:
        raise ValueError(
            f"features of {side}s change in the rows, and more than {MAX_CHANGING} rows or features are of such "
            f"{side}s: leave their columns out, or evaluate fewer rows together"
        )
