"""The size of an image whose shorter side gets a length, as detectors are trained and tested."""


def short_side_size(height: int, width: int, side: int, longest: int) -> tuple[int, int]:
    """Height and width of an image after its shorter side has become `side`, or its longer side `longest`.

    As detectron2's `ResizeShortestEdge`: the scale is the smaller one of the two, sides are rounded to whole pixels.

    Args:
        height, width: of the image, at least 1.
        side: wanted length of the shorter side.
        longest: limit of the longer side.
    """
    scale = min(side / min(height, width), longest / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
