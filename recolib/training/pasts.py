"""What the users of training rows had consumed before: of each event what came before it, and where it is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recolib.data.interactions import Interactions
from recolib.data.log import ConsumedLog
from recolib.data.rows import Past
from recolib.randomness import uniforms

CUTTING, SHUFFLING = (6,), (7,)
"""Set what is drawn for cuts, and the order of a log without times, apart from other draws."""


@dataclass(frozen=True, eq=False)
class EventPasts:
    """What came before each of N events.

    Attributes
    ----------
    log
        What the users of the data consumed.
    spans
        Each event's part of it, and the event's own place, if that is within the part; see ``Past``. (N, 3).
    in_order
        Whether events have an order, by time or, for networks that go through users' items in one pass, by row.
    """

    log: ConsumedLog
    spans: NDArray[np.int64]
    in_order: bool

    @classmethod
    def of(cls, data: Interactions, by_row: bool = False) -> EventPasts:
        """The pasts of a set's events; ``by_row``, rows are in order even where they have no times."""
        log = data.data_info.log
        spans = log.past_before(data.user_indices, data.item_indices, data.times).spans.numpy()
        if by_row and not log.has_times:
            spans = np.stack([spans[:, 0], np.where(spans[:, 2] >= 0, spans[:, 2], spans[:, 1]), spans[:, 2]], -1)
            spans[:, 2] = -1
        return cls(log, spans, log.has_times or by_row)

    def past(self, device: torch.device) -> Past:
        """The past of each event, all but the event itself where there is no order."""
        return Past(self.log.tensor, torch.from_numpy(self.spans)).to(device)

    def of_epoch(self, seed: int, epoch: int) -> EventPasts:
        """The pasts in the order of an epoch: without an order of their own, events are in one drawn at random."""
        if self.in_order:
            return self
        log = self.log
        lots = uniforms(seed, epoch, np.arange(len(log)), 1, purpose=SHUFFLING)[:, 0]
        order = np.lexsort((lots, log.owners()))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        own = self.spans[:, 2]
        end = np.where(own >= 0, place[own], self.spans[:, 1]) if len(order) else self.spans[:, 1]
        spans = np.stack([self.spans[:, 0], end, np.full(len(own), -1)], -1)
        return EventPasts(ConsumedLog(log.starts, log.items[order], log.times), spans, True)

    def sorted_within(self, group: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the events by group, and within a group the earliest first."""
        return np.lexsort((self.spans[:, 1], group))


def cuts(sizes: Tensor, seed: int, epoch: int, groups: Tensor) -> Tensor:
    """Of groups with some numbers of events, how many come before the cut: each number is as likely as any other."""
    lots = uniforms(seed, epoch, groups.cpu().numpy(), 1, purpose=CUTTING)[:, 0]
    return (torch.from_numpy(lots).to(sizes.device) * sizes).long().clamp_max(sizes - 1)
