"""The order in which processes read samples, and the seed of each sample.

Each sample of each epoch has its own seed, so that a run does not depend on the number of workers or processes. The
sampler yields the epoch together with the index, because persistent workers never see a call of its `set_epoch`.
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
        """A 63-bit seed for this sample of this epoch, given the seed of the run."""
        state = np.random.SeedSequence([run_seed, self.epoch, self.index]).generate_state(1, np.uint64)
        return int(state[0] >> 1)


class ShuffledSampler(Sampler[SampleKey]):
    """Shuffle the images anew in each epoch, keep whole global batches only, and divide them among the processes.

    Batch b of all processes together holds the same samples for every number of processes. Lightning calls `set_epoch`.

    Args:
        length: number of images.
        batch_size: global batch size; images beyond the last whole batch are not used in this epoch.
        seed: seed of the run.
        rank: number of this process, from 0.
        processes: number of processes.
        done_before: called at the start of an epoch; returns the number of its batches that the run had already used
            before it was stopped. The sampler skips them.
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
        for index in order[self.rank :: self.processes].numpy():  # no list: ImageNet would need a million integers
            yield SampleKey(self.epoch, int(index))


class UnpaddedSampler(Sampler[int]):
    """Every image once, in order, divided among the processes.

    No image is repeated to give all processes equally many, because a repeated image would count twice in the scores.
    """

    def __init__(self, length: int, rank: int, processes: int) -> None:
        self.indices = range(rank, length, processes)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
