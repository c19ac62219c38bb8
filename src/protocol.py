"""How labelled images are prepared, predicted and scored: one value, printed with every score."""

from typing import Literal, get_args

from src.errors import DenseSiamError
from src.metrics import Matching

Head = Literal["main", "aux"]


class Protocol:
    """One way to score, a file of `conf/protocol/`. Numbers are comparable only where all of it is the same.

    Args:
        name: of the file.
        side: shorter side of the images that the network sees, in pixels; `own` for each image's own.
        crop: score the centre square, image and labels resized alike; otherwise the whole image against its labels at
            their own size.
        flip: average the logits of each image and its mirror image.
        matching: of clusters to classes, see `src.metrics.match`.
        head: `main`, or `aux` to score the auxiliary head's pseudo-categories (over-clustering).
        release_blocks: also give the numbers of the published code, see `src.metrics.release_block_scores`.
        resamples: of the bootstrap over images behind each 95 % interval; 0 for no intervals.

    Raises:
        DenseSiamError: a value that is none of these.
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
    ) -> None:
        given: object = side  # a config holds anything
        if given != "own" and not (type(given) is int and given > 0):
            raise DenseSiamError(f"protocol.side is {given!r}: expected pixels, or own for each image's own size")
        for key, value, choices in (("matching", matching, get_args(Matching)), ("head", head, get_args(Head))):
            if value not in choices:
                raise DenseSiamError(f"protocol.{key} is {value!r}: choose one of {', '.join(choices)}")
        for key, switch in (("crop", crop), ("flip", flip), ("release_blocks", release_blocks)):
            if type(switch) is not bool:
                raise DenseSiamError(f"protocol.{key} is {switch!r}: expected true or false")
        if type(resamples) is not int or resamples < 0:
            raise DenseSiamError(f"protocol.resamples is {resamples!r}: expected a number of draws, or 0 for none")
        self.name, self.side, self.crop, self.flip = name, side, crop, flip
        self.matching, self.head, self.release_blocks, self.resamples = matching, head, release_blocks, resamples

    @property
    def one_size(self) -> bool:
        """Whether all prepared images have the same size, so that they can share a batch."""
        return self.crop and self.side != "own"

    def describe(self) -> dict[str, str]:
        """What a reader needs to know beside the scores."""
        size = "own size" if self.side == "own" else f"shorter side to {self.side}"
        cut = "centre square, labels alike (nearest)" if self.crop else "no crop, labels at their own size"
        mirrored = ", averaged with the mirror image's," if self.flip else ""
        head = "auxiliary head's " if self.head == "aux" else ""
        return {
            "protocol": self.name,
            "preparation": f"{size}, {cut}",
            "prediction": f"{head}logits{mirrored} upsampled bilinearly, then argmax",
            "matching": self.matching,
        }
