"""DatasetFeat and DatasetPure: where a user's frame comes in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeVar, get_args

import narwhals as nw
import numpy as np

from recolib.checks import check_bool, check_choice, check_integer
from recolib.data.building import Sources, build_training, check_weight_col, encode_evaluation
from recolib.data.consumed import Counting
from recolib.data.display import read_display_col
from recolib.data.field import MAX_WIDTH, Group, Side
from recolib.data.frame import Frame, read_frame
from recolib.data.hashed_columns import Encoding, with_buckets
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.merging import merge_events
from recolib.data.schema import Schema, make_schema
from recolib.data.streaming.building import Arguments, stream_training
from recolib.data.streaming.evaluating import stream_evaluation
from recolib.data.streaming.sources import Source, source_of

EventsT = TypeVar("EventsT", bound=Frame | Source)
SCALINGS = ("standard", "none")


class _Dataset:
    """What both classes share; they differ in ``build_trainset`` alone."""

    _last: ClassVar[DataInfo | None] = None

    @classmethod
    def build_evalset(
        cls,
        eval_data: object,
        shuffle: bool = False,
        seed: int = 42,
        *,
        data_info: DataInfo | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> Interactions:
        """Encode a frame for evaluation; ``build_testset`` is the same method.

        Each event has the features that its row gives, which were true at that time; where it gives none, known ids
        have what training knew last, and unknown ids nothing.

        Parameters
        ----------
        eval_data
            A frame with ``user``, ``item``, the context columns of the data, if it has any, and any of its feature
            columns. Without ``label`` every row counts as an observed interaction. Weights are ignored. Or what is read
            in parts, as in ``DatasetFeat.build_trainset``; the set is that of the whole frame, and lies in files.
        shuffle, seed
            Whether to shuffle the rows, and the seed for it.
        data_info
            The data that the set belongs to. By default what this class built last.
        cache_dir
            For data that is read in parts, the folder of the encoded files, which stay. A build that was interrupted
            goes on in it, and one that is whole is used again. By default files are temporary.

        Returns
        -------
        Interactions
            The encoded set; it carries its ``data_info``.

        Raises
        ------
        RuntimeError
            If there is no ``data_info``: nothing was built yet.
        ValueError
            If the frame lacks a column or has a bad value, or ``cache_dir`` has a set of other data.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1]})
        >>> info = DatasetPure.build_trainset(frame)[1]
        >>> DatasetPure.build_evalset(pd.DataFrame({"user": [9, 5], "item": ["b", "b"]}), data_info=info).user_indices
        array([2, 0], dtype=int32)
        """
        check_bool("shuffle", shuffle)
        check_integer("seed", seed, 0)
        info = cls._last if data_info is None else data_info
        if info is not None and not isinstance(info, DataInfo):
            raise TypeError(f"data_info must be what build_trainset returned, got {type(info).__name__}")
        if info is None:
            raise RuntimeError("build_trainset must be called before build_evalset or build_testset")
        source = source_of(eval_data, "eval_data")
        if source is not None:
            if shuffle:
                raise ValueError("shuffle=True takes a frame, and eval_data is read in parts: no metric needs it")
            return stream_evaluation(source, info, cache_dir)
        _refuse_cache_dir(cache_dir, "eval_data")
        frame = read_frame(eval_data, ["user", "item", *info.context_col], "eval_data")
        data = encode_evaluation(frame, info)
        return _shuffled(data, seed) if shuffle else data

    build_testset = build_evalset

    @classmethod
    def merge_trainset(
        cls,
        train_data: object,
        data_info: DataInfo,
        merge_behavior: bool = True,
        shuffle: bool = False,
        seed: int = 42,
        *,
        user_features: object = None,
        item_features: object = None,
        weight_col: str | None = None,
    ) -> tuple[Interactions, DataInfo]:
        """Encode further events, to continue the training of a model.

        New users, items and values are appended to the vocabularies. No code changes, so sets and models of
        ``data_info`` remain valid, and ``data_info`` itself is not modified.

        Parameters
        ----------
        train_data
            The new events, with the columns of the first training frame. The feature columns of a side may be left out,
            all or none: known ids then keep their features, and new ids have unknown ones.
        data_info
            The data that the events are added to.
        merge_behavior
            Whether earlier interactions still count as consumed and towards popularity.
        shuffle, seed
            Whether to shuffle the rows, and the seed for it.
        user_features, item_features
            As in ``DatasetFeat.build_trainset``; ids without a row keep their features.
        weight_col
            The column of the new events that says how much each counts, if there is one.

        Returns
        -------
        tuple of Interactions and DataInfo
            The encoded set of the new events alone, and the data with them. Mean, lowest and highest label and the
            number of rows are of all events so far. The scale of numbers and the width of lists do not change.

        Raises
        ------
        ValueError
            If the frame lacks a column or has a bad value; the message names the column.

        Examples
        --------
        >>> import pandas as pd
        >>> first = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1]})
        >>> data, info = DatasetPure.build_trainset(first)
        >>> later = pd.DataFrame({"user": [5, 9], "item": ["b", "c"], "label": [1, 1]})
        >>> data, info = DatasetPure.merge_trainset(later, info)
        >>> len(data), info.user2id[7], info.user2id[5], info.data_size
        (2, 1, 3, 5)
        """
        for name, flag in (("merge_behavior", merge_behavior), ("shuffle", shuffle)):
            check_bool(name, flag)
        check_integer("seed", seed, 0)
        if not isinstance(data_info, DataInfo):
            raise TypeError(f"data_info must be what build_trainset returned, got {type(data_info).__name__}")
        schema = data_info.schema
        sources = _feature_frames(user_features, item_features)
        needed: dict[Side, Frame] = {
            side: source.select(_wanted(source, schema, side, data_info.display)) for side, source in sources.items()
        }
        weights = check_weight_col(weight_col, schema)
        frame = _with_columns(read_frame(train_data, (), "train_data"), [*data_info.context_col, *weights])
        _refuse_both(frame, schema, needed)
        for side in ("user", "item"):
            columns = [*frame.columns, *(needed[side].columns if side in needed else ())]
            missing = [column for column in schema.columns(side) if column not in columns]
            if missing and len(missing) < len(schema.columns(side)):
                raise ValueError(
                    f"columns {missing} are missing: give all features of {side}s, in train_data or {side}_features, "
                    "or none"
                )
        data, info = merge_events(frame, data_info, needed, merge_behavior, weight_col)
        cls._last = info
        return (_shuffled(data, seed) if shuffle else data), info

    @classmethod
    def merge_evalset(
        cls, eval_data: object, data_info: DataInfo, shuffle: bool = False, seed: int = 42
    ) -> Interactions:
        """Encode a frame for evaluation with what ``merge_trainset`` returned; ``merge_testset`` is the same method.

        LibRecommender's name and order of arguments for ``build_evalset``.

        Examples
        --------
        See ``build_evalset``.
        """
        return cls.build_evalset(eval_data, shuffle, seed, data_info=data_info)

    merge_testset = merge_evalset

    @classmethod
    def _build(
        cls,
        train_data: Frame | Source,
        schema: Schema,
        sources: Sources,
        scaling: str,
        shuffle: bool,
        seed: int,
        weight_col: str | None,
        consumed: Counting | None,
        cache_dir: str | os.PathLike[str] | None,
        display_col: Sequence[str] = (),
    ) -> tuple[Interactions, DataInfo]:
        check_bool("shuffle", shuffle)
        if consumed is not None:
            check_choice("consumed", consumed, get_args(Counting))
        check_integer("seed", seed, 0)
        elsewhere = _columns(sources)
        features = [column for side in ("user", "item", "context") for column in schema.columns(side)]
        needed = [*(c for c in features if c not in elsewhere), *check_weight_col(weight_col, schema)]
        frame = _with_columns(train_data, needed)
        _refuse_both(frame, schema, sources)
        if not isinstance(frame, nw.DataFrame):
            if shuffle:
                raise ValueError("shuffle=True takes a frame: of what is read in parts, fit shuffles the rows")
            arguments = Arguments(schema, sources, scaling, weight_col, consumed, display_col)
            data, cls._last = stream_training(frame, arguments, cache_dir)
            return data, cls._last
        _refuse_cache_dir(cache_dir, "train_data")
        # order is time where no column says so: features are read before the shuffle
        data, info = build_training(frame, schema, sources, scaling, weight_col, consumed, display_col)
        cls._last = info
        return (_shuffled(data, seed) if shuffle else data), info


class DatasetPure(_Dataset):
    """Users and items alone, without feature columns."""

    @classmethod
    def build_trainset(
        cls,
        train_data: object,
        shuffle: bool = False,
        seed: int = 42,
        *,
        weight_col: str | None = None,
        consumed: Counting | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> tuple[Interactions, DataInfo]:
        """Encode a frame of ``user``, ``item`` and ``label`` for training.

        Parameters
        ----------
        train_data
            A pandas, polars or pyarrow frame, or what is read in parts, as in ``DatasetFeat.build_trainset``. Of
            further columns only ``time`` and ``weight_col`` are read.
        shuffle, seed
            Whether to shuffle the rows, and the seed for it.
        weight_col
            A column of numbers of at least 0: how much each row counts in training. By default all count alike.
        consumed, cache_dir
            As in ``DatasetFeat.build_trainset``.

        Returns
        -------
        tuple of Interactions and DataInfo
            The encoded set, and the data's columns, vocabularies and features.

        Raises
        ------
        ValueError
            If the frame lacks a column or has a bad value; the message names the column.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1]})
        >>> DatasetPure.build_trainset(frame)[1]
        n_users: 2, n_items: 2, data density: 75.0000 %
        """
        events = _read_events(train_data)
        return cls._build(events, make_schema(), {}, "standard", shuffle, seed, weight_col, consumed, cache_dir)


class DatasetFeat(_Dataset):
    """Users and items with feature columns."""

    @classmethod
    def build_trainset(
        cls,
        train_data: object,
        user_col: Sequence[str] | None = None,
        item_col: Sequence[str] | None = None,
        sparse_col: Sequence[str] | None = None,
        dense_col: Sequence[str] | None = None,
        multi_sparse_col: Sequence[str | Sequence[str]] | None = None,
        unique_feat: bool = False,
        pad_val: int | str | Sequence[int | str] = "missing",
        shuffle: bool = False,
        seed: int = 42,
        *,
        context_col: Sequence[str] | None = None,
        user_features: object = None,
        item_features: object = None,
        dense_scaling: str = "standard",
        other_col: Mapping[str, Sequence[str | Sequence[str]]] | None = None,
        weight_col: str | None = None,
        max_list_len: int | None = None,
        consumed: Counting | None = None,
        display_col: Sequence[str] | None = None,
        vector_col: Sequence[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        encoding: Encoding | Mapping[Group, Encoding] = "vocabulary",
        n_buckets: int | Mapping[Group, int] | None = None,
    ) -> tuple[Interactions, DataInfo]:
        """Encode a frame with feature columns for training.

        Each feature column belongs to one side (``user_col``, ``item_col`` or ``context_col``) and is of one
        kind (``sparse_col``, ``dense_col``, ``multi_sparse_col`` or ``vector_col``). If the features of an id change
        over time, each event has those of its own row, and predictions use the latest: those with the greatest
        ``time``, or without that column those of the last row.

        Parameters
        ----------
        train_data
            A pandas, polars or pyarrow frame with ``user``, ``item``, ``label`` and the feature columns. Without
            ``label`` each row is an interaction. Data larger than memory is read in parts, into files that are mapped
            into memory: the path of a Parquet file or of a folder of such, a ``pyarrow.dataset.Dataset``, an iterator
            of frames or a function that returns one.
        user_col, item_col
            Columns that describe users and items.
        sparse_col
            Columns of categories: integers, strings, or booleans, which count as 0 and 1. A missing value is "unknown".
        dense_col
            Columns of numbers. A missing value is the training mean.
        multi_sparse_col
            Columns of lists, by name, or groups of columns such as ``["genre1", "genre2"]``. A group is one feature
            with one vocabulary, and its values' vectors are pooled.
        unique_feat
            Accepted for LibRecommender's users and ignored: features are always stored once an id.
        pad_val
            The value that marks an empty place in a group: one for all groups, or a list with one for each.
        shuffle, seed
            Whether to shuffle the rows, and the seed for it.
        context_col
            Columns that describe the event, such as hour or device. A request gives them when it is made.
        user_features, item_features
            Frames keyed by ``user`` and ``item`` with feature columns, one row for each id, so that ``train_data`` need
            not repeat them. Ids without an event may be among them.
        dense_scaling
            ``"standard"`` subtracts the training mean and divides by the standard deviation: a dense value x multiplies
            its vector v, and a raw year such as 1999 would make x·v explode. ``"none"`` leaves numbers as they are.
        other_col
            Columns of further kinds that you registered in ``recolib.data.kinds.KINDS``, by the name of the kind.
        weight_col
            A column of numbers of at least 0: how much each row counts in training. By default all count alike.
        max_list_len
            How many values of a list count, the first ones. Every row takes the room of the longest list; by default
            lists are cut, with a ``LongListWarning``, only where a few long ones would make that cost too much.
        consumed
            Which rows say that a user consumed an item, so that lists do not have it: ``"all"``, or ``"positive"``,
            those with a label above 0. By default ``"positive"`` where all labels are 0 or 1, as of what was shown and
            was clicked or not, and ``"all"`` for ratings: what was rated low was consumed. Data that more is merged
            into keeps it.
        display_col
            Columns of ``item_features`` or ``train_data`` that models do not see, such as titles: text or integers.
            ``DataInfo.item_frame`` and files have them, for ``recommend(columns=["title"])`` and ``where``.
        vector_col
            Columns of vectors, such as embeddings of text or images: a list or an array of numbers in each row, all of
            one length. Models learn a projection of them to ``embed_size`` numbers. A missing one is the training mean.
            Give them in ``item_features`` or ``user_features``: each row of events takes their room.
        cache_dir
            For data that is read in parts, the folder of the encoded files, which stay. A build that was interrupted
            goes on in it, and one that is whole is used again. By default files are temporary. Parts are told from
            others by the size and date of their file; frames of an iterator by their length and 16 of their rows, so
            that other changes of these are not seen.
        encoding
            How categories become codes. ``"vocabulary"`` learns all values of a column. ``"hash"`` learns none: the
            code of a value is one of ``n_buckets`` by its hash, and all values of a bucket share it, those that
            training did not see as well. It is for columns of more than ten million values. Give it for all sparse and
            multi-sparse features, or by column, such as ``{"device": "hash"}``; a group goes by its first column, or by
            the tuple of its columns. Ids always have a vocabulary.
        n_buckets
            How many buckets hashed columns have: one number for all, or a mapping by column. By default 1,048,576, as
            in scikit-learn's ``FeatureHasher``: 71 MB of weights a column with ``embed_size=16``. One for each distinct
            value or more is best, as far as there is room; fewer cost accuracy.

        Returns
        -------
        tuple of Interactions and DataInfo
            The encoded set, and the data's columns, vocabularies and features.

        Raises
        ------
        ValueError
            If a column is missing, stands twice, is empty, is of two kinds or sides or of none, or holds
            what it must not; the message names the column, and of what is read in parts the part. Also if
            ``cache_dir`` has a set of other data or other arguments.
        ImportError
            If ``train_data`` is a path and there is no pyarrow.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1], "age": [30, 30, 50]})
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"])
        >>> info.user_dense_col.name
        ['age']
        """
        check_choice("dense_scaling", dense_scaling, SCALINGS)
        sources = _feature_frames(user_features, item_features)
        events = _read_events(train_data)  # once: a stream is empty afterwards
        present = {*events.columns, *(c for s in sources.values() for c in s.columns)}
        schema = make_schema(
            user_col,
            item_col,
            context_col,
            sparse_col,
            multi_sparse_col,
            dense_col,
            pad_val,
            present,
            other_col,
            vector_col,
        )
        if max_list_len is not None:
            check_integer("max_list_len", max_list_len, 1, MAX_WIDTH + 1)
            fields = (replace(field, width=max_list_len) if field.lists else field for field in schema.fields)
            schema = Schema(tuple(fields))
        of_items = sources["item"].columns if "item" in sources else []
        schema = with_buckets(schema, encoding, n_buckets)
        shown = read_display_col(display_col, schema, [*events.columns, *of_items])
        needed: dict[Side, Frame] = {
            side: frame.select(_wanted(frame, schema, side, shown)) for side, frame in sources.items()
        }
        return cls._build(events, schema, needed, dense_scaling, shuffle, seed, weight_col, consumed, cache_dir, shown)


def _feature_frames(user_features: object, item_features: object) -> dict[Side, Frame]:
    frames: dict[Side, object] = {"user": user_features, "item": item_features}
    return {side: read_frame(one, [side], f"{side}_features") for side, one in frames.items() if one is not None}


def _read_events(train_data: object) -> Frame | Source:
    """A frame of events, or what gives them part by part."""
    return source_of(train_data) or read_frame(train_data, (), "train_data")


def _with_columns(events: EventsT, columns: Sequence[str]) -> EventsT:
    """The events, with these columns beside their users and items."""
    if "user" not in events.columns:
        raise ValueError(
            f"columns ['user'] are not in train_data: {list(events.columns)}; if there are no users, all rows are one "
            "user's, train_data['user'] = 0"
        )
    absent = [column for column in ("item", *columns) if column not in events.columns]
    if absent:
        raise ValueError(f"columns {absent} are not in train_data: {list(events.columns)}")
    return events


def _refuse_cache_dir(cache_dir: str | os.PathLike[str] | None, argument: str) -> None:
    if cache_dir is not None:
        raise ValueError(
            f"cache_dir is for {argument} that is read in parts: a path, a pyarrow dataset, or an iterator of frames"
        )


def _columns(sources: Sources) -> set[str]:
    return {column for side, source in sources.items() for column in source.columns if column != side}


def _refuse_both(frame: Frame | Source, schema: Schema, sources: Sources) -> None:
    """Raise if a feature stands both in the events and in a frame of features."""
    features = [column for side in ("user", "item", "context") for column in schema.columns(side)]
    both = sorted({column for column in features if column in _columns(sources) and column in frame.columns})
    if both:
        raise ValueError(f"columns {both} stand in train_data and in a feature frame: drop them from one")


def _wanted(frame: Frame, schema: Schema, side: Side, shown: Iterable[str]) -> list[str]:
    columns = [*schema.columns(side), *(shown if side == "item" else ())]
    return [side, *(column for column in columns if column in frame.columns)]


def _shuffled(data: Interactions, seed: int) -> Interactions:
    order = np.random.default_rng(seed).permutation(len(data))
    return data.take(order)
