"""Segmentation of files, see `src.prediction.files`."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from src.images.resizing import to_tensor
from src.prediction.map_results import LabelMap, MapResults
from src.prediction.maps import Settings, dense, upsample_labels
from src.prediction.segmenter import Segmenter, as_array, prepare


class MapJob(NamedTuple):
    """Label maps of images.

    Attributes:
        segmenter, settings: predict.
        results: writes the results.
        wanted: what is written besides label maps and overlays: `probabilities`, `features`.
    """

    segmenter: Segmenter
    settings: Settings
    results: MapResults
    wanted: Collection[str]

    def prepare(self, image: Image.Image) -> Tensor:
        """What the network sees of an image, (3, h, w) uint8."""
        return to_tensor(prepare(image, self.settings))

    @torch.inference_mode()
    def predict(self, images: Sequence[Image.Image], prepared: Tensor) -> Iterator[LabelMap]:
        """The label maps of images, given what the network sees of them, (B, 3, h, w) uint8."""
        moved = prepared.to(self.segmenter.device)
        corners = self.segmenter.network.encoder.align_corners
        features, logits = dense(self.segmenter.network, moved, self.settings, "features" in self.wanted)
        for place, image in enumerate(images):
            clusters = as_array(upsample_labels(logits[place], image.size[::-1], corners), logits.shape[1])
            arrays: dict[str, Any] = {}
            if "probabilities" in self.wanted:
                arrays["probabilities"] = logits[place].float().softmax(0).half().cpu().numpy()
            if features is not None:
                arrays["features"] = features[place].half().cpu().numpy()
            yield LabelMap(image, clusters, arrays)
