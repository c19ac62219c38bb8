"""Who reads which sample: the same global batches for any number of processes, and nothing twice when scoring."""

import itertools

import pytest
from torch.utils.data import DataLoader, Dataset

from src.data.sampling import SampleKey, ShuffledSampler, UnpaddedSampler


def batches(
    processes: int, epoch: int = 0, seed: int = 0, length: int = 26, batch_size: int = 8, done: int = 0
) -> list[list[int]]:
    """Indices of each global batch, all processes together, sorted within the batch."""
    local, shares = batch_size // processes, []
    for rank in range(processes):
        sampler = ShuffledSampler(length, batch_size, seed, rank, processes, lambda: done)
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(sampler) == length // batch_size * local == len(keys) + done * local
        assert all(key.epoch == epoch for key in keys)
        indices = [key.index for key in keys]
        shares.append([indices[start : start + local] for start in range(0, len(indices), local)])
    return [sorted(itertools.chain(*parts)) for parts in zip(*shares, strict=True)]


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_global_batches_do_not_depend_on_the_number_of_processes(processes: int) -> None:
    for epoch in (0, 1, 5):
        assert batches(processes, epoch) == batches(1, epoch)


@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_what_is_done_is_left_out_whatever_the_number_of_processes(processes: int, done: int) -> None:
    assert batches(processes, epoch=2, done=done) == batches(1, epoch=2)[done:]


@pytest.mark.parametrize(("length", "batch_size", "whole"), [(26, 8, 3), (24, 8, 3), (8, 8, 1), (9, 1, 9)])
def test_whole_batches_without_repeats(length: int, batch_size: int, whole: int) -> None:
    found = batches(1, length=length, batch_size=batch_size)
    assert [len(batch) for batch in found] == [batch_size] * whole
    used = list(itertools.chain(*found))
    assert len(set(used)) == len(used)
    assert set(used) <= set(range(length))


def test_every_epoch_and_seed_has_its_own_order() -> None:
    orders = [list(ShuffledSampler(26, 8, seed, 0, 1)) for seed in (0, 1)]
    sampler = ShuffledSampler(26, 8, 0, 0, 1)
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    indices = [[key.index for key in order] for order in orders]
    assert all(first != second for first, second in itertools.combinations(indices, 2))
    assert indices[0] != sorted(indices[0])
    assert list(ShuffledSampler(26, 8, 0, 0, 1)) == orders[0] == list(ShuffledSampler(26, 8, 0, 0, 1))


def test_what_is_left_over_waits_for_another_epoch() -> None:
    seen = set(itertools.chain(*(index for epoch in range(8) for index in batches(1, epoch))))
    assert seen == set(range(26))
    assert len({tuple(sorted(itertools.chain(*batches(1, epoch)))) for epoch in range(8)}) > 4


def test_seeds_of_samples_differ_and_fit_torch() -> None:
    seeds = {SampleKey(epoch, index).seed(run) for run in range(3) for epoch in range(4) for index in range(50)}
    assert len(seeds) == 3 * 4 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert SampleKey(1, 2).seed(3) == SampleKey(1, 2).seed(3)


class Keys(Dataset[tuple[int, int]]):
    """Gives back what it is asked for."""

    def __getitem__(self, key: SampleKey) -> tuple[int, int]:
        return key.epoch, key.index


def test_persistent_workers_see_the_new_epoch() -> None:
    sampler = ShuffledSampler(10, 4, 0, 0, 1)
    loader = DataLoader(Keys(), batch_size=4, sampler=sampler, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 7):
        sampler.set_epoch(epoch)
        read = list(loader)
        assert [batch[0].tolist() for batch in read] == [[epoch] * 4] * 2
        seen.append([index for batch in read for index in batch[1].tolist()])
        assert seen[-1] == [key.index for key in sampler]
    assert seen[0] != seen[1] != seen[2]


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 13])
def test_scoring_reads_every_image_once(length: int, processes: int) -> None:
    shares = [list(UnpaddedSampler(length, rank, processes)) for rank in range(processes)]
    assert sorted(itertools.chain(*shares)) == list(range(length))
    assert [len(UnpaddedSampler(length, rank, processes)) for rank in range(processes)] == list(map(len, shares))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(share == sorted(share) for share in shares)
