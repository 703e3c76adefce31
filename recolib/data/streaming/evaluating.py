"""From a source to an evaluation set whose large arrays lie in files: what ``encode_evaluation`` makes of a frame.

Vocabularies are known, so that each part is encoded as it comes, into a file of its own. Rows of what the parts show,
and the tables do not have, are numbered when all are known: until then an event has a number below 0 in place of such a
row, and ids that are unknown have one within their part.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
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
from recolib.data.packing import pack_table, pack_vocab, unpack_values
from recolib.data.rows import UNKNOWN, Codes, Rows
from recolib.data.streaming.array_files import ArrayFiles
from recolib.data.streaming.caching import FORMAT, check_cached, folder_of
from recolib.data.streaming.finished import FINISHED, entries_of, read_finished, write_finished
from recolib.data.streaming.part_files import FOLDER, PartFiles, read_arrays
from recolib.data.streaming.sides import MAX_CHANGING
from recolib.data.streaming.sources import Source
from recolib.data.table import Table, bits_of
from recolib.data.times import read_moments
from recolib.data.unseen import warn_of_twins
from recolib.data.vocab import Vocab
from recolib.exceptions import telling_once
from recolib.files import Arrays, prefixed, under

KIND, PART = "evaluation set", "part of an evaluation set"
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
        The folder of the files, as in ``stream_training``.

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
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
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
    folder, parts, types = files.folder / FOLDER, PartFiles(), set[np.dtype[Any]]()
    sides: dict[Side, ShownSide] = {side: ShownSide(info, side) for side in EVENT_SIDES}
    folder.mkdir(exist_ok=True)
    for arrays in parts.written(source, columns, folder, PART, lambda frame: _shown_of(frame, columns, info)):
        types |= {arrays[name].dtype for name in ("times",) if name in arrays}
        for side, shown in sides.items():
            shown.add(under(f"{side}s", arrays))
    starts = parts.starts()
    _write_events(files, info, parts.files, starts, np.result_type(*types) if types else np.dtype(np.int64))
    shown = [_number(files, info, columns, shown, parts.files, starts) for shown in sides.values()]
    return parts.keys, {"starts": starts, **shown[0], **shown[1]}


def _shown_of(frame: Frame, columns: Sequence[str], info: DataInfo) -> tuple[str, dict[str, NDArray[Any]]]:
    """What times are, and all arrays of a part."""
    form, arrays = "", dict[str, NDArray[Any]]()
    if "time" in columns:
        arrays["times"], form = read_moments(read_column(frame, "time"), "time")
    context = shown_context(frame, info)
    arrays |= {"context_codes": context.codes.numpy(), "context_dense": context.dense.numpy()}
    for side in EVENT_SIDES:
        arrays |= prefixed(f"{side}s", _shown_on(side, frame, info))
    return form, arrays | {"labels": observed_labels(frame)}


def _shown_on(side: Side, frame: Frame, info: DataInfo) -> dict[str, NDArray[Any]]:
    """What a part shows of one side.

    ``rows`` has the row of each event, and −1, −2, … for those of ``versions``, which the table does not have. Their
    owners are −1, −2, … where they are of ``unknown`` ids.
    """
    positions, ids = factorize(read_column(frame, side), side, ids=True)
    table, codes = info.table(side), info.vocabs[side].encode(ids)
    is_new = codes == UNKNOWN
    codes[is_new] = -1 - np.arange(is_new.sum())
    owners = codes[positions]
    now = table.rows[torch.from_numpy(np.maximum(owners, UNKNOWN))]
    shown = overlay(now, frame, info.schema, info.vocabs, side)
    own, rows = table.differing(owners, shown), np.maximum(owners, UNKNOWN)
    versions, version = np.unique(bits_of(owners[own], shown[torch.from_numpy(own)]), axis=0, return_inverse=True)
    rows[own] = -1 - version.reshape(-1)
    return {"rows": rows, "versions": versions, **prefixed("unknown", pack_vocab(Vocab(ids[is_new])))}


def _write_events(
    files: ArrayFiles, info: DataInfo, parts: Sequence[Path], starts: NDArray[np.int64], time_type: np.dtype[Any]
) -> None:
    """Write what stands in each event, with times of one type; without times, their order."""
    columns = {
        "labels": ("<f4", ()),
        "times": (time_type.str, ()),
        "context_codes": ("<i4", (info.schema.n_codes("context"),)),
        "context_dense": ("<f4", (info.schema.n_dense("context"),)),
    }
    with files.writing(columns) as writing:
        for number, part in enumerate(parts):
            order = {"times": np.arange(starts[number], starts[number + 1])}
            writing.write(**order | read_arrays(part, columns.__contains__))


def _number(
    files: ArrayFiles,
    info: DataInfo,
    columns: Sequence[str],
    shown: ShownSide,
    parts: Sequence[Path],
    starts: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Write the rows of events, now that all are known; give what the table is made of."""
    side, versions = shown.side, shown.distinct()
    changing = info.table(side).changing(versions, says_history(columns, info, side))
    times, events, n_events = files.mapped("times"), list[tuple[Codes, NDArray[Any], Codes]](), 0
    with files.writing({f"{side}_rows": ("<i4", ())}) as writing:
        for number, part in enumerate(parts):
            rows, owners = shown.numbered(number, read_arrays(part, f"{side}s.rows".__eq__)[f"{side}s.rows"])
            writing.write(**{f"{side}_rows": rows})
            some = np.flatnonzero(np.isin(owners, changing)) if len(changing) else np.empty(0, np.int64)
            n_events += len(some)
            _refuse_many(n_events, side)
            events.append((owners[some], times[starts[number] + some], rows[some]))
    codes, moments, rows = (np.concatenate(one) for one in zip(*events, strict=True))
    return prefixed(f"{side}s", {"versions": versions, "codes": codes, "times": moments, "rows": rows})


class ShownSide:
    """What the events of one side show, part by part, that its table does not have."""

    def __init__(self, info: DataInfo, side: Side) -> None:
        self.side: Side = side
        self._vocab, self._unknown = info.vocabs[side], Vocab(as_values(()))
        self._n_rows, self._sizes, self._n_distinct = len(info.table(side).rows), list[int](), 0
        no_versions = bits_of(np.empty(0, np.int32), info.table(side).rows[:0])
        self._versions, self._numbers = [no_versions], [np.empty(0, np.int64)]

    def add(self, arrays: Arrays) -> None:
        """Take in what a part shows, as ``_shown_on`` has it."""
        versions, unknown = arrays["versions"].copy(), unpack_values(self.side, under("unknown", arrays))
        if len(unknown):
            warn_of_twins(f"column {self.side!r}", unknown, self._vocab)
            fresh = unknown[self._unknown.encode(unknown) == UNKNOWN]
            self._unknown = Vocab(joined_values([self._unknown.values, fresh]))
            owners = versions[:, 0]
            owners[owners < 0] = -self._unknown.encode(unknown)[-1 - owners[owners < 0]]
        self._sizes.append(len(versions))
        self._numbers.append(np.arange(len(versions)) + sum(map(len, self._versions)))
        self._versions.append(versions)
        if sum(map(len, self._versions)) > 2 * max(self._n_distinct, MAX_WAITING):
            self.distinct()

    def distinct(self) -> Versions:
        """All rows so far behind those of the table, each once and in order."""
        versions, number = np.unique(np.concatenate(self._versions), axis=0, return_inverse=True)
        _refuse_many(len(versions), self.side)
        self._versions, self._numbers = [versions], [number.reshape(-1)[np.concatenate(self._numbers)]]
        self._n_distinct = len(versions)
        return versions

    def numbered(self, part: int, rows: Codes) -> tuple[Codes, Codes]:
        """The rows of the events of a part, now that all are ``distinct``, and whose they are."""
        ((versions,), (numbers,)) = self._versions, self._numbers
        is_new, numbered, owners = rows < 0, rows.copy(), rows.copy()
        number = numbers[sum(self._sizes[:part]) - 1 - rows[is_new]]
        numbered[is_new] = self._n_rows + number
        owners[is_new] = versions[number, 0]
        return numbered, owners


def _refuse_many(n: int, side: Side) -> None:
    if n > MAX_CHANGING:
        raise ValueError(
            f"features of {side}s change in the rows, and more than {MAX_CHANGING} rows or features are of such "
            f"{side}s: leave their columns out, or evaluate fewer rows together"
        )
