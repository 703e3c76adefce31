"""Service: what a server's routes ask: the model, the history store, and the threads in which both are used."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from recolib.serving.answers import Answer, recommend, recommend_plain
from recolib.serving.history import Event, History, HistoryError, Id
from recolib.serving.logs import silence_warnings
from recolib.serving.metrics import ServerMetrics
from recolib.serving.models import Models, Served, Watcher
from recolib.serving.schemas import MAX_USERS, RecommendRequest
from recolib.serving.wishes import Consumed

LOG = logging.getLogger("recolib.serving")
PLAIN = frozenset({"users", "n_rec", "columns", "version"})
"""What a request may wish whose lists are made together with those of others."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Waiting:
    """A request for lists, and where its answer goes."""

    ask: RecommendRequest
    served: Served
    answer: Future[Answer]


class Service:
    """The model, the store and the threads of one server.

    Parameters
    ----------
    pointer
        What names the model.
    history
        The store of events; None for none.
    threads
        How many threads answer.
    metrics
        Where is counted.
    beside
        What names the model beside it; None for none.
    """

    def __init__(
        self,
        pointer: str | os.PathLike[str],
        history: History | None,
        threads: int,
        metrics: ServerMetrics,
        beside: str | os.PathLike[str] | None = None,
    ) -> None:
        self.history, self.metrics = history, metrics
        self._threads = threads
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._waiting: deque[Waiting] = deque()
        self.models = Models(pointer, self._changed, metrics.failed_loads.inc)
        self.beside = None if beside is None else Models(beside, self._changed_beside, metrics.failed_loads.inc)
        for models in self._all_models():
            models.refresh()
        self._watchers: list[Watcher] = []

    def start(self) -> None:
        """Watch the pointers from now on, in this process."""
        torch.set_num_threads(1)
        silence_warnings()
        if self.models.current is not None:  # it may have been loaded before a fork
            self._count(self.models.current)
        if self.beside is not None and self.beside.current is not None:
            self._changed_beside(self.beside.current)
        self._watchers = [Watcher(models) for models in self._all_models()]

    def stop(self) -> None:
        """End the threads; what they still compute is answered first."""
        for watcher in self._watchers:
            watcher.stop()
        self._watchers = []
        if self._pool is not None and self._pool[0] == os.getpid():
            self._pool[1].shutdown(wait=True)
        self._pool = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads of this process."""
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(self._threads, "recolib-answers")
            self._waiting = deque()
        return self._pool[1]

    async def run(self, work: Callable[[], T]) -> T:
        """What a function returns that runs in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    async def recommend(self, served: Served, ask: RecommendRequest) -> Answer:
        """Lists; those of requests that wish nothing more are made together."""
        if not ask.model_fields_set <= PLAIN or not set(ask.columns) <= {*served.columns}:
            return await self.run(lambda: recommend(served, ask, self.consumed(ask.users)))
        pool, waiting = self.pool, Waiting(ask, served, Future())
        self._waiting.append(waiting)
        pool.submit(self._answer_waiting)
        return await asyncio.wrap_future(waiting.answer)

    def consumed(self, users: Sequence[Id]) -> Consumed:
        """What the store has of users; nothing while it fails."""
        if self.history is None:
            return Consumed()
        try:
            return Consumed(self.history.get(users))
        except HistoryError as error:
            self.metrics.history_failures.inc()
            LOG.error(str(error))
            return Consumed()

    def add(self, events: Sequence[Event]) -> int:
        """Store events."""
        assert self.history is not None
        try:
            n_stored = self.history.add(events)
        except HistoryError as error:
            self.metrics.history_failures.inc()
            LOG.error(str(error))
            raise
        self.metrics.events.inc(n_stored)
        return n_stored

    def _answer_waiting(self) -> None:
        """Answer requests that wait, as many as one computation takes; another thread may have taken them."""
        batch: list[Waiting] = []
        n_users = 0
        while self._waiting and n_users < MAX_USERS:
            try:
                waiting = self._waiting.popleft()
            except IndexError:
                break
            if waiting.answer.set_running_or_notify_cancel():
                batch.append(waiting)
                n_users += len(waiting.ask.users)
        of_model: dict[Served, list[Waiting]] = {}
        for waiting in batch:
            of_model.setdefault(waiting.served, []).append(waiting)
        for served, some in of_model.items():
            self._answer_together(served, some)

    def _answer_together(self, served: Served, batch: list[Waiting]) -> None:
        try:
            consumed = self.consumed([user for one in batch for user in one.ask.users])
            plain = [one for one in batch if consumed.items.keys().isdisjoint(one.ask.users)]
            answers = recommend_plain(served, [one.ask for one in plain]) if plain else []
            for one, answer in zip(plain, answers, strict=True):
                one.answer.set_result(answer)
            for one in batch:
                if not one.answer.done():
                    one.answer.set_result(recommend(served, one.ask, consumed))
        except BaseException as error:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)

    def _changed(self, served: Served) -> None:
        """Count what is served, and remove events that it was trained on."""
        self._count(served)
        until = served.version.data_until
        if self.history is not None and until is not None:
            try:
                n_removed = self.history.prune(until)
            except HistoryError as error:
                self.metrics.history_failures.inc()
                LOG.error(str(error))
            else:
                LOG.info("history pruned", extra={"fields": {"events": n_removed}})

    def _changed_beside(self, served: Served) -> None:
        """Count what is served beside; which events are kept the current model alone says."""
        self.metrics.count_model(served.version.name, "beside")

    def _all_models(self) -> list[Models]:
        return [self.models, *([] if self.beside is None else [self.beside])]

    def _count(self, served: Served) -> None:
        self.metrics.count_model(served.version.name)
