"""Randomness of our own: generators that belong to a thread, while torch's global ones stay as they were found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recolib.caching import Lock

Uniforms = NDArray[np.float64]
TAKE_GENERATOR = """
bernoulli bernoulli_ binomial cauchy_ exponential_ geometric_ kaiming_normal_ kaiming_uniform_ log_normal_ multinomial
normal normal_ poisson rand randint randn randperm random_ uniform_ _standard_gamma
"""
"""Names of torch's functions and methods that draw from the ``generator`` that they are given."""
DRAW_GLOBALLY = """
alpha_dropout alpha_dropout_ dropout dropout1d dropout2d dropout3d dropout_ feature_alpha_dropout
feature_alpha_dropout_ feature_dropout feature_dropout_ fractional_max_pool2d fractional_max_pool2d_with_indices
fractional_max_pool3d fractional_max_pool3d_with_indices gru gumbel_softmax lstm multi_head_attention_forward
native_dropout rand_like randint_like randn_like rnn_relu rnn_tanh rrelu rrelu_ scaled_dot_product_attention
_sample_dirichlet
"""
"""Names of those that can only draw from a global generator."""
_TAKING, _GLOBAL = frozenset(TAKE_GENERATOR.split()), frozenset(DRAW_GLOBALLY.split())

_of_thread = threading.local()
_global_draws = Lock()


def generator(device: torch.device) -> torch.Generator | None:
    """What this thread draws from on a device; None, torch's global generator, where nothing is ``seeded``."""
    return _generators().get(device.type)


def _generators() -> dict[str, torch.Generator]:
    return getattr(_of_thread, "generators", {})


def uniforms(seed: int, epoch: int, rows: NDArray[np.integer], n: int, purpose: Sequence[int] = ()) -> Uniforms:
    """Numbers in [0, 1), shape (len(rows), n), each a hash of (seed, epoch, row, column) and of what they are for.

    The hash is SplitMix64 over a counter (Steele et al., *Fast Splittable Pseudorandom Number Generators*, 2014).
    """
    key = np.random.SeedSequence([seed, epoch, *purpose]).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        counter = rows.astype(np.uint64)[:, None] * np.uint64(n) + np.arange(1, n + 1, dtype=np.uint64)
        bits = counter * np.uint64(0x9E3779B97F4A7C15) + key
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class OwnRows:
    """Which rows of some that go through a network are this process's, where several share them.

    Attributes
    ----------
    first, n
        The first of them, and how many.
    n_all
        How many all processes have.
    counts
        Whether they count. Where there are too few rows, a process has one that another has.
    has_catalogue
        Whether all processes have the same items, which no row has to itself.
    """

    first: int
    n: int
    n_all: int
    counts: bool = True
    has_catalogue: bool = False

    def n_drawn(self, n: int) -> int:
        """How many rows to draw for, if n are needed here, as many for each own row."""
        return n // self.n * self.n_all

    def of(self, drawn: Tensor) -> Tensor:
        """Of what was drawn for the rows of all processes, that for the own ones."""
        each = len(drawn) // self.n_all
        return drawn[self.first * each : (self.first + self.n) * each]


def own_rows() -> OwnRows | None:
    """Which rows this thread draws for: all processes draw alike, and each takes its own. None: all that there are."""
    return getattr(_of_thread, "own_rows", None)


@contextmanager
def drawing_for(rows: OwnRows | None) -> Generator[None]:
    """Let this thread draw for the rows of all processes, so that what is drawn does not depend on their number."""
    outer = own_rows()
    _of_thread.own_rows = rows
    try:
        yield
    finally:
        _of_thread.own_rows = outer


@contextmanager
def seeded(device: torch.device, *seed: int, all_code: bool = False) -> Generator[None]:
    """Let this thread draw from generators of its own on the CPU and on ``device``, made from ``seed``.

    What draws asks for its ``generator``. With ``all_code`` other code does so, too, without knowing: torch's random
    functions are given it. That makes each call of torch somewhat slower.
    """
    value = int(np.random.SeedSequence(seed).generate_state(1, np.uint32)[0])
    outer = _generators()
    devices = {"cpu": torch.device("cpu"), device.type: device}
    _of_thread.generators = {name: torch.Generator(where).manual_seed(value) for name, where in devices.items()}
    try:
        if all_code:
            with _Redirected():
                yield
        else:
            yield
    finally:
        _of_thread.generators = outer


def is_own(code: object) -> bool:
    """Whether a module or function is recolib's, which asks for its ``generator`` where it draws."""
    return getattr(code, "__module__", "").startswith("recolib.")


class _Redirected(TorchFunctionMode):
    """Gives torch's random functions the thread's generator."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``."""
        given, name = kwargs or {}, getattr(func, "__name__", "")
        if name in _TAKING:
            if given.get("generator") is None:
                given = given | {"generator": _generators().get(_device_of(args, given))}
        elif name in _GLOBAL:
            return _with_global_generators(func, args, given)
        return func(*args, **given)


class Undrawn(TorchFunctionMode):
    """Leaves tensors as they are allocated where they would be filled with random numbers.

    For a network on the device "meta", of which shapes alone are wanted. To fill its tensors torch would import its
    compiler, which takes two seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, unless it fills a tensor."""
        given, name = kwargs or {}, getattr(func, "__name__", "")
        if name in _TAKING and name.endswith("_"):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The type of the device on which a random function draws."""
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    device = next((tensor.device for tensor in tensors), kwargs.get("device") or torch.get_default_device())
    return torch.device(cast("Any", device)).type


def _with_global_generators(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function gives with the global generators seeded from the thread's, and then put back."""
    generators = _generators()
    value = int(torch.randint(2**62, (), generator=generators["cpu"]))
    cuda = [one.device.index for name, one in generators.items() if name == "cuda"]
    with _global_draws.held(), torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(value)  # torch.manual_seed would reach every other device too
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(value)
        return func(*args, **kwargs)
