"""The optional package faster-coco-eval: COCO's scores and masks."""

from importlib.util import find_spec

from src.errors import DenseSiamError


def require_coco_eval() -> None:
    """Check that faster-coco-eval is installed.

    Raises:
        DenseSiamError: it is not; the message says how to install it.
    """
    if find_spec("faster_coco_eval") is None:
        raise DenseSiamError(
            "object detection needs faster-coco-eval, which is not installed: pip install 'densesiam[detection]'"
        )
