"""DataInfo: columns, vocabularies, features and consumed items of the data; nothing of a model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.caching import Lock, cached
from recolib.checks import check_names
from recolib.data.consumed import Consumed, Counting
from recolib.data.decoding import decode_rows
from recolib.data.display import Display, DisplayColumn, display_with, pack_display, unpack_display
from recolib.data.encoding import assigned
from recolib.data.field import Field, Side
from recolib.data.frame import read_frame
from recolib.data.kinds import layout_of
from recolib.data.log import ConsumedLog
from recolib.data.order import count_codes
from recolib.data.packing import Parts, pack, unpack
from recolib.data.rows import Part
from recolib.data.schema import Schema
from recolib.data.table import Table
from recolib.data.vocab import CodeToId, IdToCode, Vocab
from recolib.files import Arrays, file_of, prefixed, read_file, refusing, require, under, write_file

_ASSIGNING = Lock()
N_POPULAR = 100
ENDING = "_data_info"
"""What the file of a DataInfo is called beside that of the model."""


@dataclass(frozen=True)
class Feature:
    """Names of feature columns and their positions, as LibRecommender gives them."""

    name: list[str]
    index: list[int]


class LabelStats(NamedTuple):
    """The labels of the training rows."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class DataInfo:
    """Columns, vocabularies, feature rows and what each user consumed.

    Made by ``build_trainset``; every model of this data holds it. It never changes but for
    ``assign_user_features`` and ``assign_item_features``, which put a new table in
    the place of one: what was made of the old table keeps it.

    Attributes
    ----------
    schema
        The columns.
    vocabs
        The vocabulary of each field that has codes, by the field's name.
    users, items
        The feature rows. An item's code ("inner id") counts from 1; 0 means unknown.
    user_consumed, item_consumed
        Mappings from a user's code to the items they consumed in training, and from an item's code to its users.
    liked
        Whether the user ever gave the item a label above 0, for each of ``user_consumed.codes``.
    data_size
        The number of training rows.
    labels
        Mean, lowest and highest training label.
    ancestors
        The fingerprints of the data that more was merged into, the first data's first.
    n_vectors
        For users and items, the highest code that has a vector of its own: ids behind it have features and no event,
        and share that of the unknown id. None for data of a time when every id had one.
    consumed
        Which rows say that a user consumed an item: ``"all"``, or ``"positive"``, those with a label above 0.
    display
        Columns of items that are kept to be shown, by name.
    log
        What each user consumed in the order in which they did, as often as they did. The rows of ``users`` have it as
        their past.
    """

    schema: Schema
    vocabs: Mapping[str, Vocab]
    users: Table
    items: Table
    user_consumed: Consumed
    item_consumed: Consumed
    liked: NDArray[np.bool_]
    log: ConsumedLog
    data_size: int
    labels: LabelStats
    ancestors: tuple[str, ...] = ()
    n_vectors: tuple[int, int] | None = None
    consumed: Counting = "all"
    display: Display = field(default_factory=dict[str, DisplayColumn])

    def __post_init__(self) -> None:
        """Give the rows of users what these consumed."""
        object.__setattr__(self, "users", self.with_log(self.users))

    def with_log(self, users: Table) -> Table:
        """A table of users whose rows have what these consumed as their past."""
        past = users.rows.past
        if past is not None and past.items is self.log.tensor and len(past.spans) == len(users.rows):
            return users
        return replace(users, rows=users.rows.with_past(self.log.past_of(users.owner)))

    def __deepcopy__(self, memo: object) -> DataInfo:
        """Another one of the same parts, which never change; features that are assigned to one are not the other's."""
        return copy(self)

    def __repr__(self) -> str:
        """Users, items and density in one line."""
        density = 100 * self.density
        return f"n_users: {self.n_users}, n_items: {self.n_items}, data density: {density:.4f} %"

    @property
    def density(self) -> float:
        """The share of all pairs of a user and an item that are consumed, however often."""
        return len(self.user_consumed.codes) / (self.n_users * self.n_items)

    @cached
    def n_users(self) -> int:
        """How many users are known."""
        return len(self.vocabs["user"])

    @cached
    def n_items(self) -> int:
        """How many items are known."""
        return len(self.vocabs["item"])

    @cached
    def user2id(self) -> IdToCode:
        """User id to code."""
        return IdToCode(self.vocabs["user"])

    @cached
    def item2id(self) -> IdToCode:
        """Item id to code."""
        return IdToCode(self.vocabs["item"])

    @cached
    def id2user(self) -> CodeToId:
        """Code to user id."""
        return CodeToId(self.vocabs["user"])

    @cached
    def id2item(self) -> CodeToId:
        """Code to item id."""
        return CodeToId(self.vocabs["item"])

    @property
    def global_mean(self) -> float:
        """The mean training label."""
        return self.labels.mean

    @property
    def min_max_rating(self) -> tuple[float, float]:
        """The lowest and the highest training label."""
        return self.labels.low, self.labels.high

    @cached
    def popularity(self) -> NDArray[np.int64]:
        """How many distinct users liked each item, by code, shape (n_items + 1,)."""
        return count_codes(self.user_consumed.codes, self.liked, self.n_items + 1)

    @cached
    def ranked_items(self) -> NDArray[np.int32]:
        """All item codes, most popular first, ties by code."""
        return (np.argsort(-self.popularity[1:], kind="stable") + 1).astype(np.int32)

    @property
    def popular_items(self) -> list[int | str]:
        """The ids of the 100 most popular items, most popular first."""
        return self.vocabs["item"].decode(self.ranked_items[:N_POPULAR]).tolist()

    @cached
    def trained_items(self) -> NDArray[np.int32]:
        """The codes of the items that had interactions, ascending: those a negative is drawn from."""
        return np.flatnonzero(self.items.current.codes[:, 0].numpy()).astype(np.int32)

    def n_values(self, field: Field) -> int:
        """How many codes of a field have a vector of their own."""
        if field.is_id and self.n_vectors is not None:
            return self.n_vectors[0 if field.side == "user" else 1]
        return len(self.vocabs[field.name])

    @cached
    def fingerprint(self) -> str:
        """A hash of schema and vocabularies: data encoded alike have it in common."""
        digest = hashlib.sha256(self.schema.to_json().encode())
        for name, vocab in self.vocabs.items():
            digest.update(f"\n{name} {len(vocab)} {vocab.values.dtype}\n".encode())
            if vocab.values.dtype == object:
                digest.update("\0".join(map(repr, vocab.values)).encode())
            else:
                digest.update(vocab.values.tobytes())
        if self.n_vectors not in (None, (self.n_users, self.n_items)):
            digest.update(f"\n{self.n_vectors}".encode())
        return digest.hexdigest()

    def extends(self, other: DataInfo) -> bool:
        """Whether this is other data, or such with more merged into it: codes of it then mean the same here."""
        return self is other or other.fingerprint in (self.fingerprint, *self.ancestors)

    def table(self, side: Side) -> Table:
        """The feature rows of users or of items."""
        return self.items if side == "item" else self.users

    def user_frame(self) -> pd.DataFrame:
        """The known users, in the order of their codes 1, 2, …, with their features as they are now.

        Returns
        -------
        DataFrame
            ``user`` and the users' feature columns, as values: a missing one is missing, but for a number, which is the
            training mean, as the model sees it.

        Examples
        --------
        See ``item_frame``.
        """
        return decode_rows(self.users.current, self.schema, self.vocabs, "user")

    def item_frame(self) -> pd.DataFrame:
        """The known items, in the order of their codes 1, 2, …, with their features as they are now.

        Returns
        -------
        DataFrame
            ``item`` and the items' feature columns, as in ``user_frame``, and then the columns of ``display_col``. A
            feature's value that training did not see is missing.

        Examples
        --------
        >>> import pandas as pd
        >>> from recolib.data import DatasetFeat
        >>> frame = pd.DataFrame({"user": [7, 9], "item": ["b", "a"], "label": [1, 1], "price": [9.99, 5]})
        >>> info = DatasetFeat.build_trainset(frame, item_col=["price"], dense_col=["price"])[1]
        >>> info.item_frame().to_dict("list")
        {'item': ['a', 'b'], 'price': [5.0, 9.99]}
        """
        shown = {name: column.series() for name, column in self.display.items()}
        return decode_rows(self.items.current, self.schema, self.vocabs, "item").assign(**shown)

    def save(self, path: str | os.PathLike[str], model_name: str) -> Path:
        """Write the file ``path/model_name_data_info.safetensors``. A model's own file holds its DataInfo too.

        Parameters
        ----------
        path
            A folder; it is made if there is none.
        model_name
            A plain name.

        Returns
        -------
        Path
            The file.

        Examples
        --------
        >>> import tempfile
        >>> import pandas as pd
        >>> from recolib.data import DatasetPure
        >>> frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "label": [1, 1, 1]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = DatasetPure.build_trainset(frame)[1].save(folder, "tiny")
        ...     info = DataInfo.load(folder, "tiny")
        >>> file.name, info.n_users
        ('tiny_data_info.safetensors', 2)
        """
        header, arrays = self.packed()
        return write_file(file_of(path, model_name, ENDING), "data_info", {"data_info": header}, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model_name: str) -> DataInfo:
        """Read what ``save`` wrote, or else the DataInfo in the file of the model of that name.

        Raises
        ------
        FileNotFoundError
            If there is neither file.
        ValueError
            If the file is damaged, of a newer format, or none of recolib's.

        Examples
        --------
        See ``save``.
        """
        own, of_model = file_of(path, model_name, ENDING), file_of(path, model_name)
        file = of_model if of_model.is_file() and not own.is_file() else own
        header, arrays = read_file(file, "data_info", "model")
        with refusing(file):
            return cls.unpacked(header["data_info"], arrays)

    def packed(self) -> tuple[dict[str, Any], Arrays]:
        """All of it as JSON and arrays."""
        consumed = self.user_consumed, self.item_consumed
        parts = Parts(self.schema, self.vocabs, self.users, self.items, *consumed, self.liked, self.log)
        schema, arrays = pack(parts)
        header = {
            "schema": schema,
            "data_size": self.data_size,
            "labels": list(self.labels),
            "ancestors": list(self.ancestors),
            "n_vectors": None if self.n_vectors is None else list(self.n_vectors),
            "consumed": self.consumed,
            "display": list(self.display),
        }
        return header, prefixed("data_info", {**arrays, **pack_display(self.display)})

    @classmethod
    def unpacked(cls, header: Mapping[str, Any], arrays: Arrays) -> DataInfo:
        """What ``packed`` gave, checked; raises a ValueError where it contradicts itself."""
        parts = unpack(header["schema"], under("data_info", arrays))
        display = unpack_display(header.get("display", []), under("data_info", arrays), parts.items.n_ids)
        data_size, labels = header["data_size"], LabelStats(*header["labels"])
        require(isinstance(data_size, int) and data_size >= 1, "there are rows")
        require(all(isinstance(label, int | float) for label in labels), "labels are numbers")
        require(np.isfinite(labels).all() and labels.low <= labels.high, "labels have a range")
        rounding = 1e-6 * (abs(labels.low) + abs(labels.high))
        require(labels.low - rounding <= labels.mean <= labels.high + rounding, "the mean label is in their range")
        ancestors = header.get("ancestors", [])
        require(isinstance(ancestors, list) and all(isinstance(one, str) for one in ancestors), "ancestors have names")
        n_vectors = header.get("n_vectors")
        if n_vectors is not None:
            n_users, n_items = n_vectors
            for n, table, side in ((n_users, parts.users, "user"), (n_items, parts.items, "item")):
                own = int(table.rows.codes[:, 0].max())
                require(isinstance(n, int) and own <= n <= table.n_ids, f"{side}s with events have vectors")
            n_vectors = n_users, n_items
        consumed = header.get("consumed", "all")
        require(consumed in get_args(Counting), "what is consumed is all rows, or the positive ones")
        require(consumed == "all" or bool(parts.liked.all()), "what is consumed was liked")
        return cls(*parts, data_size, labels, tuple(ancestors), n_vectors, consumed, display)

    def assign_user_features(self, user_data: object) -> None:
        """Give known users new features, in place, for predictions and for sets that are encoded from now on.

        Sets that are there keep the features that were true of their events. Unknown users are left out with a
        warning, and columns of other sides without one.

        Parameters
        ----------
        user_data
            A frame with ``user`` and any user feature columns; of several rows of one user the last counts.

        Raises
        ------
        ValueError
            If a column is none of the data's.

        Examples
        --------
        >>> import pandas as pd
        >>> from recolib.data import DatasetFeat
        >>> frame = pd.DataFrame({"user": [7, 9], "item": ["a", "b"], "label": [1, 1], "age": [30, 50]})
        >>> info = DatasetFeat.build_trainset(frame, user_col=["age"], dense_col=["age"])[1]
        >>> info.assign_user_features(pd.DataFrame({"user": [7], "age": [31]}))
        >>> info.user_frame()["age"].tolist()
        [31.0, 50.0]
        """
        self._assign("user", user_data)

    def assign_item_features(self, item_data: object) -> None:
        """Give known items new features, in place; see ``assign_user_features``.

        Parameters
        ----------
        item_data
            A frame with ``item`` and any item feature columns; of several rows of one item the last counts.

        Raises
        ------
        ValueError
            If a column is none of the data's.

        Examples
        --------
        See ``assign_user_features``.
        """
        self._assign("item", item_data)

    def _assign(self, side: Side, data: object) -> None:
        with _ASSIGNING.held():
            frame, display = read_frame(data, [side], f"{side}_data"), self.display
            columns = [*self.user_col, *self.item_col, *self.context_col, *display]
            known = ["user", "item", "label", "time", *columns]
            check_names(frame.columns, known, f"a column of the data that {side}_data can have")
            table = assigned(self.table(side), frame, self.schema, self.vocabs, side)
            if side == "item":
                display = display_with(display, display, self.vocabs["item"], [frame])
            object.__setattr__(self, "display", display)
            object.__setattr__(self, "items" if side == "item" else "users", table)

    # ---- columns, as LibRecommender's users ask for them

    @property
    def sparse_col(self) -> Feature:
        """The sparse and multi-sparse columns, users' before items' before context's."""
        return self._feature("codes")

    @property
    def dense_col(self) -> Feature:
        """The dense and vector columns."""
        return self._feature("dense")

    @property
    def user_sparse_col(self) -> Feature:
        """The sparse and multi-sparse columns of users."""
        return self._feature("codes", "user")

    @property
    def user_dense_col(self) -> Feature:
        """The dense and vector columns of users."""
        return self._feature("dense", "user")

    @property
    def item_sparse_col(self) -> Feature:
        """The sparse and multi-sparse columns of items."""
        return self._feature("codes", "item")

    @property
    def item_dense_col(self) -> Feature:
        """The dense and vector columns of items."""
        return self._feature("dense", "item")

    @property
    def user_col(self) -> list[str]:
        """All feature columns of users."""
        return self.schema.columns("user")

    @property
    def item_col(self) -> list[str]:
        """All feature columns of items."""
        return self.schema.columns("item")

    @cached
    def has_context(self) -> bool:
        """Whether there are context columns."""
        return bool(self.schema.features("context"))

    @property
    def context_col(self) -> list[str]:
        """All feature columns of the event."""
        return self.schema.columns("context")

    def _feature(self, part: Part, side: Side | None = None) -> Feature:
        features = [field for one in ("user", "item", "context") for field in self.schema.features(one)]
        of_part = [field for field in features if layout_of(field).part == part]
        columns = [(column, field.side) for field in of_part for column in field.columns]
        found = [(name, at) for at, (name, of) in enumerate(columns) if side in (None, of)]
        return Feature([name for name, _ in found], [at for _, at in found])
