"""Shards: vectors whose rows the processes share, where each cannot train all of them. torchrec does the work.

Row r belongs to process r mod n: neighbours in a vocabulary, such as its most frequent values, are not all in one. A
batch's rows are asked for where they are, and their gradients go back there, where row-wise Adagrad steps them at once.
What is sent follows the batch, and neither the table nor the number of processes.
"""

# pyright: reportMissingImports=false
# torchrec is optional, and cannot be an extra: see docs/scaling.md.

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from recolib.checks import check_choice
from recolib.nn.embedding import FieldEmbedding
from recolib.nn.network import Network
from recolib.process_group import ProcessGroup
from recolib.training.optimizers import Optimizer, ParamState, Rates

RELEASES = {"2.13": "1.8.0"}
"""For each release of torch the one of torchrec and fbgemm that goes with it."""
BY_ROWS, OPTIMIZER = "rows", "rowwise_adagrad"
"""How tables are shared out, and what their rows are stepped by."""
MULTIPLE = 4
"""Numbers in a vector are a multiple of this, or fbgemm does not take them."""
NAME = "rows"
NUMBERS_AT_ONCE = 2**22
"""Numbers that are copied or sent together, 16 MB."""


class Shards:
    """The rows of a side's vectors that this process has for an epoch, and what is kept of each.

    Parameters
    ----------
    embedding
        The side, with all of the table.
    table
        The table, and what its optimiser keeps.
    rates
        The numbers of the optimiser.
    group
        The processes.
    """

    def __init__(self, embedding: FieldEmbedding, table: ParamState, rates: Rates, group: ProcessGroup) -> None:
        self.embedding, self.table, self.group = embedding, table, group
        n, dim = table.weight.shape
        self.block = -(-n // group.size)
        self._collection = _collection(self.block * group.size, dim, rates, group, table.weight.device)
        (self._vectors,) = (one.detach() for one in self._collection.parameters())
        (moments,) = self._collection.fused_optimizer.state_dict()["state"].values()
        (self._sums,) = (one.local_tensor() for one in moments.values())
        self._sums.unsqueeze_(1)

    def begin(self) -> None:
        """Take the own rows from the whole table, and have them looked up here."""
        for cut, at in self._places(self.group.rank):
            for own, whole in ((self._vectors, self.table.weight.detach()), (self._sums, self.table.moments["sum"])):
                rows = whole[at]
                own[cut.start : cut.start + len(rows)] = rows
        self.embedding.elsewhere = self

    def end(self) -> None:
        """Have rows looked up in the whole table again."""
        self.embedding.elsewhere = None

    def set_rates(self, rates: Rates) -> None:
        """Go on by another learning rate."""
        optimizer = self._collection.fused_optimizer
        optimizer.param_groups[0]["lr"] = rates.lr
        optimizer.step()  # only tells the rate: rows are stepped when their gradients come

    def __call__(self, at: Tensor) -> Tensor:
        """The vectors of rows (n,), which are stepped in the backward pass; all processes must call it as often."""
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

        place = at % self.group.size * self.block + at // self.group.size
        lengths = torch.tensor([len(at)], device=at.device)
        return self._collection(KeyedJaggedTensor([NAME], place, lengths=lengths)).wait()[NAME].values()

    @torch.no_grad()
    def collect(self) -> None:
        """Put the rows of all processes, and what is kept of them, into each one's whole table."""
        for own, whole in ((self._vectors, self.table.weight), (self._sums, self.table.moments["sum"])):
            ways = zip(*(self._places(rank) for rank in range(self.group.size)), strict=True)
            for places in ways:
                for (_, at), rows in zip(places, self.group.stack(own[places[0][0]]), strict=True):
                    whole[at] = rows[: len(whole[at])]

    def _places(self, rank: int) -> Iterator[tuple[slice, slice]]:
        """Rows of a process's block, some at a time, and where they are in the whole table; the last may lack one."""
        n, size = len(self.table.weight), self.group.size
        step = max(1, NUMBERS_AT_ONCE // self.table.weight.shape[1])
        for first in range(0, self.block, step):
            end = min(first + step, self.block)
            yield slice(first, end), slice(rank + first * size, min(n, rank + end * size), size)


def share_out(network: Network, optimizer: Optimizer, rates: Rates, group: ProcessGroup) -> list[Shards]:
    """The shards of a network's tables, which are made once: torchrec's objects free their memory late."""
    sides = [side for side in (network.user, network.item) if len(side.vectors.weight) >= group.size]
    return [Shards(side, optimizer.hand_over(side.vectors.weight), rates, group) for side in sides]


def check_network(network: Network, freeze_fm: bool, group: ProcessGroup) -> None:
    """Raise an error unless the rows of a network's tables can be shared out."""
    if freeze_fm:
        raise ValueError(f"shard={BY_ROWS!r} is for training vectors, and freeze_fm=True leaves them as they are")
    if network.reads_past:
        raise ValueError(
            f"shard={BY_ROWS!r} shares out the vectors of columns, and this model reads what users consumed: choose an "
            "algorithm without a history, or leave shard out"
        )
    if not group.is_alone:
        check_torchrec()


def check_shards(shard: object, optimizer: str, embed_size: object, **to_be_none: object) -> None:
    """Raise a ValueError unless a model's settings let processes share out rows."""
    check_choice("shard", shard, [BY_ROWS])
    given = f"shard={BY_ROWS!r}"
    if optimizer != OPTIMIZER:
        raise ValueError(
            f"{given} steps rows where they are, with optimizer={OPTIMIZER!r}: got {optimizer!r}. Adagrad's learning "
            "rates are about 0.05"
        )
    for name, value in to_be_none.items():
        if value is not None:
            raise ValueError(f"{given} steps rows before all gradients are known: leave {name} None")
    if isinstance(embed_size, int) and embed_size % MULTIPLE:
        raise ValueError(f"{given} has vectors of a multiple of {MULTIPLE} numbers, got embed_size={embed_size}")


def check_torchrec() -> None:
    """Raise an ImportError that says what to install unless torchrec is here, in the release that goes with torch."""
    release = ".".join(torch.__version__.split(".")[:2])
    wanted = RELEASES.get(release)
    if wanted is None:
        known = " or ".join(RELEASES)
        raise ImportError(f'shard="rows" was tried with torch {known}, and this is torch {torch.__version__}')
    try:
        import fbgemm_gpu
        import torchrec

        found = {torchrec.__version__.split("+")[0], fbgemm_gpu.__version__.split("+")[0]}
    except (ImportError, OSError) as error:  # libraries of another torch cannot be loaded
        raise ImportError(_install(wanted, f"is missing or of another torch ({error})")) from error
    if found != {wanted}:
        raise ImportError(_install(wanted, f"and fbgemm are {' and '.join(sorted(found))}"))


def _install(release: str, trouble: str) -> str:
    build = "fbgemm-gpu" if torch.cuda.is_available() else "fbgemm-gpu-cpu"
    return (
        f'shard="rows" needs torchrec {release}, which {trouble}. Its metadata asks for a build that may not suit '
        "torch, so that it is installed by two lines:\n"
        "  pip install tensordict torchmetrics==1.0.3 tqdm pyre-extensions\n"
        f"  pip install --no-deps torchrec=={release} {build}=={release}"
    )


def _collection(n: int, dim: int, rates: Rates, group: ProcessGroup, device: torch.device) -> Any:
    """A table of n vectors by rows over all processes, each of which holds its block of places."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of what fbgemm has for other devices
    try:
        from torchrec.distributed.comm_ops import set_gradient_division
        from torchrec.distributed.embedding import EmbeddingCollectionSharder
        from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
        from torchrec.distributed.types import ShardingEnv
        from torchrec.modules.embedding_configs import EmbeddingConfig
        from torchrec.modules.embedding_modules import EmbeddingCollection
        from torchrec.optim import RowWiseAdagrad
        from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
    finally:
        logging.disable(level)
    set_gradient_division(False)  # a process's loss is its part of the batch's
    config = EmbeddingConfig(name=NAME, embedding_dim=dim, num_embeddings=n, feature_names=[NAME])
    table = EmbeddingCollection(device=torch.device("meta"), tables=[config])
    apply_optimizer_in_backward(RowWiseAdagrad, table.parameters(), {"lr": rates.lr, "eps": rates.epsilon})
    sharder: Any = EmbeddingCollectionSharder()
    plan = construct_module_sharding_plan(
        table, {NAME: row_wise(compute_kernel="fused")}, sharder, group.size, group.size, device.type
    )
    return sharder.shard(table, plan, ShardingEnv.from_process_group(cast("Any", dist.group.WORLD)), device)
