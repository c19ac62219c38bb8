"""The evaluation protocol: how labelled images are prepared, predicted and scored. It is printed with every score."""

from typing import Literal, Protocol, get_args

from src.checks import check_choice, check_flag, check_int, check_text
from src.metrics import Matching

Head = Literal["main", "aux", "merged"]
Groups = Literal["anew", "fixed"]
LARGEST = 8192  # pixels of a side


class Preparation(Protocol):
    """How a protocol prepares images; see `EvaluationProtocol` for the attributes."""

    @property
    def side(self) -> int | Literal["own"]: ...

    @property
    def crop(self) -> bool: ...

    @property
    def one_size(self) -> bool: ...


class EvaluationProtocol:
    """An evaluation protocol, that is, a file of `conf/protocol/`. Scores of different protocols are not comparable.

    Args:
        name: name of the file.
        side: length to which the shorter side of every image is resized, in pixels; `own` keeps the image's size.
        crop: if true, the centre square is scored, and labels are resized with the image; if false, the whole image is
            scored against labels of their original size.
        flip: whether to average the logits of each image with those of its mirror image.
        matching: how clusters are matched to classes, see `src.metrics.match`.
        head: `main`, `aux` to score the pseudo-categories of the auxiliary head (over-clustering), or `merged` to score
            these merged to as many as `main` has, see `src.merging`.
        release_blocks: whether to add the numbers of the published code, see `src.metrics.release_block_scores`.
        resamples: number of resamples of the bootstrap over images for 95 % intervals; 0 for no intervals.
        window: images are predicted in windows of this many pixels, see `src.evaluation.windows.sliding`; 0 predicts
            them as a whole.
        stride: pixels from one window to the next, at most `window`; not used without windows.
        groups: when the pseudo-categories to merge are grouped: `anew` before each validation after training steps, or
            `fixed` before training.

    Raises:
        DenseSiamError: a value is not one of these.
    """

    def __init__(
        self,
        name: str,
        side: int | Literal["own"],
        crop: bool,
        flip: bool,
        matching: Matching,
        head: Head,
        release_blocks: bool,
        resamples: int,
        window: int = 0,
        stride: int = 0,
        groups: Groups = "anew",
    ) -> None:
        check_text("protocol.name", name)
        if side != "own":
            check_int("protocol.side", side, 1, LARGEST, otherwise="or own for each image's own size")
        check_choice("protocol.matching", matching, get_args(Matching))
        check_choice("protocol.head", head, get_args(Head))
        check_choice("protocol.groups", groups, get_args(Groups))
        for key, switch in (("crop", crop), ("flip", flip), ("release_blocks", release_blocks)):
            check_flag(f"protocol.{key}", switch)
        check_int("protocol.resamples", resamples, high=1_000_000)
        check_int("protocol.window", window, high=LARGEST, otherwise="or 0 to predict images as a whole")
        if window:
            check_int("protocol.stride", stride, low=1, high=window)
        self.window, self.stride = window, stride
        self.name, self.side, self.crop, self.flip = name, side, crop, flip
        self.matching, self.head, self.release_blocks, self.resamples = matching, head, release_blocks, resamples
        self.groups = groups

    @property
    def one_size(self) -> bool:
        """Whether all prepared images have the same size, so that they can share a batch."""
        return self.crop and self.side != "own"

    def describe(self) -> dict[str, str]:
        """The protocol in words, to be printed with the scores."""
        size = "own size" if self.side == "own" else f"shorter side to {self.side}"
        cut = "centre square, labels alike (nearest)" if self.crop else "no crop, labels at their own size"
        mirrored = ", averaged with the mirror image's," if self.flip else ""
        windows = f", averaged over windows of {self.window} pixels every {self.stride}" if self.window else ""
        head = {"main": "", "aux": "auxiliary head's ", "merged": "merged auxiliary head's "}[self.head]
        return {
            "protocol": self.name,
            "preparation": f"{size}, {cut}",
            "prediction": f"{head}logits{mirrored} upsampled bilinearly{windows}, then argmax",
            "matching": self.matching,
        }
