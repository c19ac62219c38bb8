"""The evaluation protocol of object detection: how images are resized, and how detections are scored."""

from typing import Literal, get_args

from src.checks import check_choice, check_int, check_text
from src.errors import DenseSiamError

Metric = Literal["voc2007", "voc2012", "coco"]
LARGEST = 8192  # pixels of a side
METRICS = {
    "voc2007": "VOC's 11-point AP, difficult objects ignored; COCO's 101-point AP beside it",
    "voc2012": "VOC's area under the curve, difficult objects ignored; COCO's 101-point AP beside it",
    "coco": "COCO's 101-point AP, crowds ignored, at most 100 detections an image",
}


class DetectionProtocol:
    """An evaluation protocol of detectors, a file of `conf/protocol/`. Scores of different protocols do not compare.

    Args:
        name: name of the file.
        metric: the definition of AP, AP50 and AP75, see `src.evaluation.voc_ap` and `src.evaluation.coco_ap`.
        side: length to which the network resizes the shorter side of every image, in pixels.
        longest: the longer side becomes no longer than this, in pixels; then the shorter side is below `side`.
        resamples: number of resamples of the bootstrap over images for 95 % intervals; 0 for none. COCO's metric has
            no intervals.

    Raises:
        DenseSiamError: a value is not one of these.
    """

    crop = False
    one_size = False  # the images have different sizes

    def __init__(self, name: str, metric: Metric, side: int, longest: int, resamples: int) -> None:
        check_text("protocol.name", name)
        check_choice("protocol.metric", metric, get_args(Metric))
        check_int("protocol.side", side, 1, LARGEST)
        check_int("protocol.longest", longest, 1, LARGEST)
        check_int("protocol.resamples", resamples, high=1_000_000)
        if longest < side:
            raise DenseSiamError(
                f"protocol.longest is {longest} and protocol.side {side}: expected the longer side to be at least the "
                "shorter; raise protocol.longest"
            )
        self.name, self.metric, self.side, self.longest, self.resamples = name, metric, side, longest, resamples

    def describe(self) -> dict[str, str]:
        """The protocol in words, to be printed with the scores."""
        return {
            "protocol": self.name,
            "preparation": f"shorter side to {self.side}, longer side at most {self.longest}",
            "metric": METRICS[self.metric],
            "AP": "mean over IoU 0.50 to 0.95 in steps of 0.05",
        }
