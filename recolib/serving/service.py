"""Service: what a server's routes ask: the model, the history store, and the threads in which both are used."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from recolib.serving.answers import Answer, recommend, recommend_plain
from recolib.serving.arguments import Consumed
from recolib.serving.history import Event, History, HistoryError, Id
from recolib.serving.logs import silence_warnings
from recolib.serving.metrics import ServerMetrics
from recolib.serving.models import Models, Served, Watcher
from recolib.serving.schemas import MAX_USERS, RecommendRequest

LOG = logging.getLogger("recolib.serving")
PLAIN = frozenset({"users", "n_rec", "columns", "version"})
"""What a request may wish whose lists are made together with those of others."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Waiting:
    """A request for lists, and where its answer goes."""

    ask: RecommendRequest
    served: Served
    answer: asyncio.Future[Answer]


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
        self._answering: asyncio.Task[None] | None = None
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
        return self._pool[1]

    async def run(self, work: Callable[[], T]) -> T:
        """What a function returns that runs in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    async def recommend(self, served: Served, ask: RecommendRequest) -> Answer:
        """Lists; those of requests that wish nothing more are made together."""
        if not is_plain(served, ask):
            return await self.run(lambda: recommend(served, ask, self.consumed(ask.users)))
        loop = asyncio.get_running_loop()
        waiting = Waiting(ask, served, loop.create_future())
        self._waiting.append(waiting)
        if self._answering is None or self._answering.done():  # one at a time: two would halve what each computes
            self._answering = loop.create_task(self._answer_waiting())
        return await waiting.answer

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

    async def _answer_waiting(self) -> None:
        """Answer requests as long as some wait, as many at once as one computation takes: others come meanwhile."""
        while self._waiting:
            batch: list[Waiting] = []
            n_users = 0
            while self._waiting and n_users < MAX_USERS:
                batch.append(self._waiting.popleft())
                n_users += len(batch[-1].ask.users)
            answers = await self.run(partial(self._answers, batch))
            for one, answer in zip(batch, answers, strict=True):
                if one.answer.done():  # nobody waits any more
                    continue
                if isinstance(answer, Exception):
                    one.answer.set_exception(answer)
                else:
                    one.answer.set_result(answer)

    def _answers(self, batch: Sequence[Waiting]) -> list[Answer | Exception]:
        """What a batch is answered, in its order; an error where there is none."""
        consumed = self.consumed([user for one in batch for user in one.ask.users])
        answers: dict[Waiting, Answer | Exception] = {}
        for served in {one.served for one in batch}:
            some = [one for one in batch if one.served is served]
            try:
                answers |= zip(some, recommend_plain(served, [one.ask for one in some], consumed), strict=True)
            except Exception:  # the fault of one of them
                answers |= ((one, _answer_alone(one, consumed)) for one in some)
        return [answers[one] for one in batch]

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


def is_plain(served: Served, ask: RecommendRequest) -> bool:
    """Whether a request asks for nothing but lists, with columns that there are."""
    return ask.model_fields_set <= PLAIN and (not ask.columns or set(ask.columns) <= {*served.columns})


def _answer_alone(waiting: Waiting, consumed: Consumed) -> Answer | Exception:
    try:
        return recommend(waiting.served, waiting.ask, consumed)
    except Exception as error:
        return error
