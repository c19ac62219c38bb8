"""Which sample a process reads next, and with which random numbers.

Each sample of each epoch has its own seed, so that a run does not depend on the number of workers or processes. The
epoch travels with the index, because persistent workers never see a sampler's `set_epoch`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Sampler


@dataclass(frozen=True, slots=True)
class SampleKey:
    """One sample of one epoch."""

    epoch: int
    index: int

    def seed(self, run_seed: int) -> int:
        """A 63-bit seed for this sample alone."""
        state = np.random.SeedSequence([run_seed, self.epoch, self.index]).generate_state(1, np.uint64)
        return int(state[0] >> 1)


class ShuffledSampler(Sampler[SampleKey]):
    """A fresh order each epoch, cut to whole global batches and dealt out to the processes.

    Batch b of all processes together holds the same samples whatever their number. Lightning calls `set_epoch`.

    Args:
        length: number of images.
        batch_size: global batch size; what is left over after the last whole batch waits for another epoch.
        seed: of the run.
        rank, processes: this process, and how many there are.
        done_before: asked when an epoch begins how many of its batches a run that was stopped has had; left out here.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int,
        processes: int,
        done_before: Callable[[], int] = lambda: 0,
    ) -> None:
        self.length, self.used, self.seed = length, length - length % batch_size, seed
        self.rank, self.processes, self.epoch = rank, processes, 0
        self.batch_size, self.done_before = batch_size, done_before

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.used // self.processes

    def __iter__(self) -> Iterator[SampleKey]:
        generator = torch.Generator().manual_seed(SampleKey(self.epoch, self.length).seed(self.seed))
        order = torch.randperm(self.length, generator=generator)[self.done_before() * self.batch_size : self.used]
        for index in order[self.rank :: self.processes].numpy():  # one at a time: a list would hold a million numbers
            yield SampleKey(self.epoch, int(index))


class UnpaddedSampler(Sampler[int]):
    """Every image once, in order, dealt out to the processes without repeating any to even out their shares."""

    def __init__(self, length: int, rank: int, processes: int) -> None:
        self.indices = range(rank, length, processes)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
