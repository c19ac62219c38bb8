"""Images that can't be read, and loader processes that die: who is named, and what stands in."""

import faulthandler
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from src.data.datamodule import ImageData
from src.data.reading import Loader, Reader
from src.images.reading import UnreadableFileError
from src.metrics import Category
from tests.data.arrays import Arrays, flat, number_of
from tests.factories import VIEWS, paper
from tests.refusals import refusal


class Counted(Arrays):
    """Remembers what it is asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked: list[int] = []

    def image(self, index: int) -> Image.Image:
        self.asked.append(index)
        return super().image(index)


def test_what_can_be_read_is_read() -> None:
    for on_corrupt in ("raise", "skip"):
        image, fault = Reader(Arrays(flat(4)), on_corrupt, 0).image_or_other(3, seed=1)
        assert (number_of(image), fault) == (3, "")


@pytest.mark.parametrize("seed", range(4))
def test_skip_gives_another_image_drawn_with_the_seed(seed: int) -> None:
    broken = {0, 1, 2, 3, 5}
    image, fault = Reader(Arrays(flat(8), broken=broken), "skip", 0).image_or_other(2, seed)
    draws = np.random.default_rng(seed).integers(8, size=10).tolist()
    assert number_of(image) == next(number for number in draws if number not in broken)
    assert fault == "can't read image 2"


def test_skip_leaves_out_an_image_whose_labels_cannot_be_read() -> None:
    images = Arrays(flat(8), flat(8), unlabelled={2, 3})

    def read(index: int) -> tuple[Image.Image, Image.Image]:
        return images.image(index), images.label(index)

    (image, label), fault = Reader(images, "skip", 0).read_or_other(read, 2, seed=0)
    assert number_of(image) == number_of(label) not in {2, 3}
    assert fault == "can't read labels 2"


def test_seeds_give_different_others() -> None:
    reader = Reader(Arrays(flat(30), broken={7}), "skip", 0)
    assert len({number_of(reader.image_or_other(7, seed)[0]) for seed in range(20)}) > 5


def test_raise_names_the_image_and_tries_no_other() -> None:
    images = Counted(flat(8), broken={2})
    with pytest.raises(UnreadableFileError, match=r"^can't read image 2$"):
        Reader(images, "raise", 0).image_or_other(2, seed=0)
    assert images.asked == [2]


def test_skip_gives_up_after_ten_others() -> None:
    images = Counted(flat(50), broken=range(50))
    message = refusal(
        lambda: Reader(images, "skip", 0).image_or_other(2, seed=0), "can't read image 2", "10 other images", "the disk"
    )
    assert message.startswith("can't read image 2; ")
    assert len(images.asked) == 11


def test_other_errors_are_not_skipped() -> None:
    """A fault of the program must not pass for a damaged file."""
    images = Arrays([])
    images.images = {3: "no array"}
    with pytest.raises(AttributeError):
        Reader(images, "skip", 0).image_or_other(3, seed=0)


def view_data(images: Arrays, num_workers: int, on_corrupt: str) -> ImageData:
    classes = [Category("all", "stuff")]
    return ImageData(lambda: images, images, classes, VIEWS, paper(side=16), 4, num_workers, 0, on_corrupt)


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # three workers on two cores are meant
@pytest.mark.parametrize("num_workers", [1, 3])
def test_replacements_do_not_depend_on_the_number_of_workers(num_workers: int) -> None:
    def batches(workers: int, epoch: int) -> list[dict[str, Any]]:
        loader = view_data(Arrays(flat(12), broken={1, 4, 9}), workers, "skip").train_dataloader()
        loader.sampler.set_epoch(epoch)
        return list(loader)

    for epoch in (0, 1):
        expected, found = batches(0, epoch), batches(num_workers, epoch)
        said = {k: text for b in expected for k, text in zip(b["index"].tolist(), b["unreadable"], strict=True)}
        assert said == {k: f"can't read image {k}" if k in {1, 4, 9} else "" for k in range(12)}
        for one, other in zip(expected, found, strict=True):
            assert one["unreadable"] == other["unreadable"]
            assert torch.equal(one["index"], other["index"])
            assert all(map(torch.equal, one["views"], other["views"]))
            assert torch.equal(one["boxes"], other["boxes"])
    assert not torch.equal(batches(0, 0)[0]["boxes"], batches(0, 1)[0]["boxes"])


@pytest.mark.parametrize("broken", [{6}, range(12)])
def test_an_error_in_a_worker_says_the_same(broken: Iterable[int]) -> None:
    on_corrupt = "raise" if broken == {6} else "skip"
    first, second = (
        refusal(lambda n=n: list(view_data(Arrays(flat(12), broken=broken), n, on_corrupt).train_dataloader()))
        for n in (0, 1)
    )
    assert first == second
    assert first.startswith("can't read image ")


def test_an_unknown_choice_is_refused() -> None:
    refusal(lambda: view_data(Arrays(flat(4)), 0, "ignore"), "data.on_corrupt is 'ignore'", "raise, skip")


class Deadly(Dataset[int]):
    """Item: its index, from processes that end at image 5."""

    def __init__(self, reader: Reader, end: Callable[[], None]) -> None:
        self.reader, self.end = reader, end

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> int:
        self.reader.image_or_other(index, seed=0)
        if index == 5:
            self.end()
        return index


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    faulthandler.disable()
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # without the reports that pytest and torch would print
    os.kill(os.getpid(), signal.SIGSEGV)


def exited() -> None:
    os._exit(3)


def mistaken() -> None:
    raise RuntimeError("a fault of the program")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's processes look every 5 seconds whether the others live; here more often."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))
    for module in (_utils, _utils.worker):
        monkeypatch.setattr(module, "MP_STATUS_CHECK_INTERVAL", 0.2)


def loader_of(end: Callable[[], None], num_workers: int = 1) -> Loader:
    reader = Reader(Arrays(flat(12)), "raise", num_workers)
    return Loader(
        Deadly(reader, end), reader, batch_size=1, num_workers=num_workers, persistent_workers=num_workers > 0
    )


def used(loader: Loader, seconds: float) -> Iterator[Any]:
    """The batches, the main process busy with each of them for a while."""
    for batch in loader:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.005)
        yield batch


@pytest.mark.parametrize("busy", [0, 0.1], ids=["waiting", "busy"])
@pytest.mark.parametrize("end", [killed, crashed, exited])
def test_a_process_that_dies_names_the_image_it_read(end: Callable[[], None], busy: float) -> None:
    """Also when it dies while the main process is in the midst of a step."""
    loader = loader_of(end)
    message = refusal(lambda: list(used(loader, busy)), "a loader process died while it read image 5", "memory")
    assert "image 4" not in message


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_the_program_stays_one(num_workers: int) -> None:
    """A worker says of it that it came from a DataLoader worker, as it does of a process that died."""
    with pytest.raises(RuntimeError, match="a fault of the program"):
        list(loader_of(mistaken, num_workers))


def test_the_image_that_stands_in_is_named_too() -> None:
    class DeadlyOther(Arrays):
        def image(self, index: int) -> Image.Image:
            if index != 2:
                killed()
            return super().image(index)

    seed = 3
    reader = Reader(DeadlyOther(flat(12), broken={2}), "skip", 1)

    class Twos(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            return number_of(reader.image_or_other(2, seed)[0])

    loader = Loader(Twos(), reader, sampler=range(3), num_workers=1)
    other = np.random.default_rng(seed).integers(12, size=10).tolist()[0]
    assert other != 2
    refusal(lambda: list(loader), f"a loader process died while it read image {other} ")


def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_passes_by_the_processes() -> None:
    assert [batch.item() for batch in loader_of(interrupted)] == list(range(12))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_reading_draws_nothing_from_the_global_generator(num_workers: int) -> None:
    loader, before = view_data(Arrays(flat(12)), num_workers, "raise").train_dataloader(), torch.get_rng_state()
    assert len(list(loader)) == len(list(loader)) == 3
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_epoch_that_is_set_before_the_first_batch_counts(num_workers: int) -> None:
    """Lightning asks for the batches of a resumed run before it sets the epoch."""
    late, early = (view_data(Arrays(flat(12)), num_workers, "raise").train_dataloader() for _ in range(2))
    batches = iter(late)
    for loader in (late, early):
        loader.sampler.set_epoch(3)
    assert next(batches)["index"].tolist() == next(iter(early))["index"].tolist()
    late.sampler.set_epoch(0)
    assert next(iter(late))["index"].tolist() != next(iter(early))["index"].tolist()


class Processes(Dataset[tuple[int, int]]):
    """Item: its index and the id of the process that reads it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.reader.image_or_other(index, seed=0)
        return index, os.getpid()


def test_processes_stay_for_the_next_epoch_even_after_a_break() -> None:
    reader = Reader(Arrays(flat(9)), "raise", 2)
    loader = Loader(Processes(reader), reader, sampler=range(9), batch_size=2, num_workers=2, persistent_workers=True)
    seen = set()
    for _ in range(2):
        batches = list(loader)
        assert [number for batch in batches for number in batch[0].tolist()] == list(range(9))
        seen |= {process for batch in batches for process in batch[1].tolist()}
        assert len(loader) == len(batches) == 5
        assert next(iter(loader))[0].tolist() == [0, 1]
    assert len(seen) == 2
    assert os.getpid() not in seen
    assert {process for process, _ in reader.reading.tolist()} == seen
