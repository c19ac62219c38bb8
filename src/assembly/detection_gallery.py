"""Detects objects with the network of a finished run, for the pictures of its report."""

from collections.abc import Sequence

from rich.progress import track
from torchvision.transforms.v2.functional import to_pil_image

from src.assembly.assemble import Run
from src.assembly.display import evenly, short_names
from src.drawing.boxes import drawn, scaled
from src.drawing.colours import palette
from src.images.resizing import to_tensor
from src.models.detection import DetectionNetwork
from src.prediction.detector import MIN_SCORE, Detector
from src.results.pages.gallery import Gallery, Shown

NOTE = (
    "images, spread over those that are scored: the objects of the annotations, and those that the network finds with "
    f"a score of at least {MIN_SCORE}."
)


def detection_gallery(run: Run, network: DetectionNetwork, count: int, chosen: Sequence[int] | None = None) -> Gallery:
    """Detect the objects of some scored images, and show them beside those of the annotations.

    Args:
        run: the run.
        network: its network, with its weights.
        count: how many images are shown.
        chosen: the numbers of the images to show, in place of `count`.
    """
    source = run.data.val.image_name
    images, names = run.data.val, [one.name for one in run.data.classes]
    detector = Detector(network.eval(), run.data.classes).to(run.trainer.strategy.root_device)
    indices = evenly(range(len(images)), count) if chosen is None else [one for one in chosen if one < len(images)]

    def shown(index: int, name: str) -> Shown:
        photograph = images.image(index)
        image, truth = to_tensor(photograph), images.objects(index, photograph.size)
        found = detector.found([image], MIN_SCORE)[0]
        pictures = {"image": scaled(image), "annotations": drawn(image, truth, names)}
        pictures["prediction"] = drawn(image, found.tensors(), names)
        groups = sorted({*truth["labels"].tolist(), *found.labels.tolist()})
        return Shown(name, None, groups, {key: to_pil_image(one) for key, one in pictures.items()}, source(index))

    names_shown = short_names([source(index) for index in indices])
    tracked = track(indices, "Predicting", transient=True)
    return Gallery(
        kind="classes",
        note=NOTE,
        names=names,
        colours=palette(len(names)),
        indices=indices,
        shown=[shown(index, name) for index, name in zip(tracked, names_shown, strict=True)],
        clusters=[],
        predicted=len(images),
    )
