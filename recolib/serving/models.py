"""The model that is served: loaded and warmed aside, and then put in the place of the one before."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recolib import loading
from recolib.caching import KeyedCache, cached
from recolib.data.info import DataInfo
from recolib.files import local_path
from recolib.recommender import Recommender
from recolib.serving.columns import as_json, describe_features, describe_items, holds_vectors, is_number
from recolib.serving.pointer import Version, read_pointer
from recolib.serving.searching import IdSearch, folded

LOG = logging.getLogger("recolib.serving")
POLL_S = 0.5
WARM_LENGTH = 10


@dataclass(frozen=True, eq=False)
class Served:
    """A model as it is served; nothing changes it.

    Attributes
    ----------
    version
        What the pointer said.
    model
        Loaded and warm.
    """

    version: Version
    model: Recommender

    @property
    def info(self) -> DataInfo:
        """The model's data."""
        return self.model.data_info

    @cached
    def items(self) -> pd.DataFrame:
        """The frame of all items, in the order of codes."""
        return self.info.item_frame()

    @cached
    def columns(self) -> list[str]:
        """The columns of items that can be shown: all but vectors."""
        names: list[str] = self.items.columns.tolist()
        return [name for name in names if name != "item" and not holds_vectors(pd.Series(self.items[name]))]

    @cached
    def values(self) -> KeyedCache[list[object]]:
        """The values of columns of items by code − 1, as JSON has them."""
        return KeyedCache(size=64)

    def column(self, name: str) -> list[object]:
        """The values of a column of items by code − 1."""
        return self.values.get(name, lambda: [as_json(value) for value in self.items[name].tolist()])

    @cached
    def texts(self) -> pd.Series:
        """What a search looks through: ids and all texts of each item, without case and accents."""
        columns = ["item", *(name for name in self.columns if not is_number(pd.Series(self.items[name])))]
        rows = zip(*(self.column(name) for name in columns), strict=True)
        return pd.Series([folded(" ".join(str(value) for value in row if value is not None)) for row in rows])

    def search(self, query: str, limit: int) -> list[int]:
        """The codes of items of which an id or a text has all words of a query, the most popular first."""
        found = np.ones(len(self.texts), bool)
        for word in folded(query).split():
            found &= self.texts.str.contains(word, regex=False).to_numpy(bool)
        ranked = self.info.ranked_items
        return ranked[found[ranked - 1]][:limit].tolist()

    @cached
    def users(self) -> IdSearch:
        """What a search for users looks through, those first who consumed most."""
        return IdSearch(self.info.vocabs["user"], np.argsort(-self.info.user_consumed.counts()[1:], kind="stable") + 1)

    @cached
    def about(self) -> dict[str, Any]:
        """What the model is, and what its columns hold."""
        info = self.info
        return {
            "model_version": self.version.name,
            "algorithm": type(self.model).__name__,
            "task": self.model.task,
            "n_users": info.n_users,
            "n_items": info.n_items,
            "score_range": [0.0, 1.0] if self.model.task == "ranking" else [*map(float, info.min_max_rating)],
            "user_columns": describe_features(info, "user"),
            "item_columns": describe_items(info, self.items, self.columns),
            "context_columns": describe_features(info, "context"),
        }

    def warm(self) -> None:
        """Make what the first requests for lists and predictions would wait for."""
        info = self.info
        users = [info.id2user[1]]
        items = [info.id2item[int(code)] for code in info.ranked_items[:2]]
        self.model.recommend_user(users, WARM_LENGTH)
        self.model.recommend_user(users, WARM_LENGTH, history=items)
        self.model.predict(users[0], items[0])

    def warm_more(self) -> None:
        """Make what the first searches and pages would wait for, and the first requests for neighbours."""
        self.search("", 1)
        self.users.find("", 1)
        _ = self.about
        self.model.similar_items(self.info.id2item[int(self.info.ranked_items[0])], 1)


class Models:
    """The model that a pointer names, whichever that is.

    Parameters
    ----------
    pointer
        The pointer's file, or a model's own.
    on_change
        Called with a new model once it is served.
    on_failure
        Called when one cannot be loaded.
    """

    def __init__(
        self,
        pointer: str | os.PathLike[str],
        on_change: Callable[[Served], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._pointer = local_path(pointer, "pointer")
        self._on_change, self._on_failure = on_change, on_failure
        self._seen: Sequence[object] = ()
        self._lock = threading.Lock()
        self.current: Served | None = None
        """A request reads it once, and is answered by that model alone."""
        self.error: str | None = None
        """Why the pointer's newest model is not served; None where it is."""

    def refresh(self) -> None:
        """Serve what the pointer names now. If that cannot be loaded, the model that is served stays."""
        with self._lock:
            seen = self._signature()
            if seen == self._seen:
                return
            self._seen = seen
            begin = time.monotonic()
            try:
                served = self._loaded()
            except Exception as error:
                self.error = self._said(error)
                self._on_failure()
                LOG.error("model not loaded", extra={"fields": {"error": self.error}})
                return
            self.current, self.error = served, None
        seconds = round(time.monotonic() - begin, 3)
        LOG.info("model served", extra={"fields": {"model_version": served.version.name, "seconds": seconds}})
        self._on_change(served)

    def _loaded(self) -> Served:
        version = read_pointer(self._pointer)
        served = Served(version, loading.load(version.file))
        served.warm()
        return served

    def _signature(self) -> Sequence[object]:
        """What changes when the pointer or the file that it names does."""
        try:
            file = read_pointer(self._pointer).file
        except (OSError, ValueError) as error:
            return stat_of(self._pointer), str(error)
        return stat_of(self._pointer), file, stat_of(file)

    def _said(self, error: Exception) -> str:
        """An error without the folders of this machine."""
        folder = self._pointer.parent
        text = str(error).replace(f"{folder.resolve()}{os.sep}", "").replace(f"{folder}{os.sep}", "")
        return text or type(error).__name__


class Watcher:
    """A thread that refreshes models every half second."""

    def __init__(self, models: Models, poll_s: float = POLL_S) -> None:
        self._models, self._poll_s = models, poll_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="recolib-models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it did."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _watch(self) -> None:
        warm: Served | None = None
        while not self._ended.is_set():
            served = self._models.current
            if served is not None and served is not warm:
                served.warm_more()
                warm = served
            self._ended.wait(self._poll_s)
            self._models.refresh()


def stat_of(file: Path) -> tuple[int, int, int] | None:
    """What tells one file from another of its name; None where there is none."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size
