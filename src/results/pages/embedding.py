"""Pictures inside of a page, as addresses that hold their content."""

import base64
import io

from PIL import Image

QUALITY = 82


def address(picture: Image.Image) -> str:
    """A `data:` address: JPEG for a photograph, PNG for a label map with a palette."""
    buffer = io.BytesIO()
    kind = "png" if picture.mode == "P" else "jpeg"
    if kind == "png":
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
