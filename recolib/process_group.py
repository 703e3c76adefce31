"""Process group: the processes that train one model together, as ``torchrun`` starts them.

Each has the data and the weights, and of every batch its own rows. Gradients are summed, so that all make the same
step. torch.distributed does the talking.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import hashlib
import json
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

NEEDED = "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"
"""Environment variables that ``torchrun`` sets."""
ALONE = "RECOLIB_ALONE"
"""Set to 1, each process trains a model of its own."""
TIMEOUT = timedelta(hours=2)
"""How long a process waits for the others, such as for the first one's evaluation. One that died ends it at once."""


@dataclass(frozen=True)
class ProcessGroup:
    """The place of this process among those that train together.

    Attributes
    ----------
    rank
        Its number, from 0 on.
    size
        How many there are; 1 is a process alone.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """The group of this process, whether they have met or not."""
        if os.environ.get(ALONE) == "1":
            return cls()
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        if all(os.environ.get(name) for name in NEEDED) and os.environ["WORLD_SIZE"] != "1":
            return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints, measures and saves."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no others."""
        return self.size == 1

    def meet(self) -> None:
        """Wait for the others, once."""
        if self.is_alone or dist.is_initialized():
            return
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, store=_store(self), rank=self.rank, world_size=self.size, timeout=TIMEOUT)
        atexit.register(_part)

    def own(self, n: int) -> tuple[int, int]:
        """Where this process's part of n rows begins and ends; a part has no rows where there are too few."""
        return n * self.rank // self.size, n * (self.rank + 1) // self.size

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if not self.is_alone:
            dist.all_reduce(tensor, group=_group_for(tensor))
        return tensor

    def stack(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, in their order, (size, ...)."""
        if self.is_alone:
            return tensor.unsqueeze(0)
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous(), group=_group_for(tensor))
        return torch.stack(parts)

    def stack_with_gradients(self, tensor: Tensor) -> Tensor:
        """``stack``, through which gradients go back to the processes that the tensors are of."""
        own = torch.zeros(self.size, *tensor.shape, dtype=tensor.dtype, device=tensor.device)
        own = own.index_copy(0, torch.tensor([self.rank], device=tensor.device), tensor.unsqueeze(0))
        return cast("Tensor", _Sum.apply(own, self))

    def take_over(self, tensors: Sequence[Tensor]) -> None:
        """Let all have what the first one has, in place."""
        if self.is_alone:
            return
        for tensor in tensors:
            whole = tensor.data if tensor.is_contiguous() else tensor.data.contiguous()
            dist.broadcast(whole, 0, group=_group_for(whole))
            if whole is not tensor.data:
                tensor.data.copy_(whole)

    def of_first(self, value: T) -> T:
        """What the first process has, of things that JSON can say."""
        if self.is_alone:
            return value
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        self.take_over([length])
        content = content if self.is_first else torch.empty(int(length), dtype=torch.uint8)
        self.take_over([content])
        return json.loads(bytes(content.tolist()))

    @contextmanager
    def failing_together(self) -> Generator[None]:
        """Let all raise what the first process raises: others wait for it, and a script that catches it goes on in all.

        Where the class cannot be found by its name, or wants more than a message, it is a RuntimeError of the others.
        """
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
        of_first = self.of_first(None if error is None else _described(error))
        if error is not None:
            raise error
        if of_first is not None:
            raise _raised(*of_first)

    def check_same(self, parts: Mapping[str, object]) -> None:
        """Raise unless all processes have the same.

        Raises
        ------
        ValueError
            Says what differs. All processes raise it.
        """
        if self.is_alone:
            return
        digests = [
            hashlib.sha256(json.dumps(part, sort_keys=True, default=float).encode()).digest() for part in parts.values()
        ]
        of_all = self.stack(torch.tensor([list(digest) for digest in digests], dtype=torch.uint8))
        for rank, of_one in enumerate(of_all):
            differing = [name for name, is_other in zip(parts, (of_one != of_all[0]).any(1), strict=True) if is_other]
            if differing:
                raise ValueError(
                    f"process {rank} has other {' and '.join(differing)} than process 0: all must run the same script "
                    f"on the same data; set {ALONE}=1 to train a model in each"
                )


class _Sum(torch.autograd.Function):
    """The sum over all processes; each has a part of the loss, so that gradients are summed, too."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: ProcessGroup) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The sum."""
        ctx.group = group
        return group.sum(own.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The sum of the gradients."""
        return ctx.group.sum(gradient.clone()), None


def _group_for(tensor: Tensor) -> Any:
    """Who sends a tensor: the group of all; where a script or Ray made that for GPUs alone, one more for processors."""
    if tensor.device.type in dist.get_backend_config():
        return dist.group.WORLD
    return _of_processors(dist.group.WORLD)


@functools.cache
def _of_processors(_of: Any) -> Any:
    return dist.new_group(backend="gloo", timeout=TIMEOUT)


def _described(error: BaseException) -> list[str]:
    """Module, name and message of an exception."""
    return [type(error).__module__, type(error).__qualname__, str(error)]


def _raised(module: str, name: str, message: str) -> BaseException:
    """The exception of the first process, of the same class; a RuntimeError where that cannot be made of a message."""
    kind = vars(sys.modules.get(module, builtins)).get(name)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        with suppress(Exception):
            return kind(message)
    return RuntimeError(f"process 0: {name}: {message}")


def _store(group: ProcessGroup) -> Any:
    """Where processes find each other. A restart begins with a clean one, or it finds addresses of those that died."""
    agent_has_it = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        group.size,
        is_master=group.is_first and not agent_has_it,
        timeout=TIMEOUT,
    )
    return dist.PrefixStore(  # pyright: ignore[reportPrivateImportUsage]
        f"recolib-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store
    )


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
