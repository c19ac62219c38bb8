"""A folder of images without labels: for pre-training, or for segmentation without scores."""

from pathlib import Path
from typing import Unpack

from PIL import Image

from src.checks import check_text
from src.data.datamodule import ImageData, Loading
from src.errors import DenseSiamError
from src.images.file_list import FileList
from src.images.listing import list_images, listed_images, read_list
from src.images.reading import open_image


class FileImages:
    """The images of a `FileList`. Only the list's own arrays are kept, no Python object for each image."""

    def __init__(self, files: FileList) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> Image.Image:
        return open_image(self.files[index])

    def reduced_image(self, index: int, least: int) -> Image.Image:
        return open_image(self.files[index], least)

    def image_name(self, index: int) -> str:
        return str(self.files[index])


class Folder(ImageData):
    """`data=folder`, `data=imagenet`, `data=coco`: trains on all images below a folder, at any depth.

    Args:
        root: folder of the data set.
        images: folder below the root that holds the images.
        layout: the expected content of the root, in words for messages.
        list: a file with one path relative to `images` per line, see `src.images.listing.read_list`; None for
            all images.
        loading: see `ImageData`.

    Raises:
        DenseSiamError: there is no such folder, or, when the images are listed, no image in it.
    """

    def __init__(self, root: str, images: str, layout: str, list: str | None, **loading: Unpack[Loading]) -> None:
        check_text("data.root", root)
        check_text("data.images", images)
        if list is not None:
            check_text("data.list", list, "or null for none")
        folder = Path(root) / images
        if not folder.is_dir():
            raise DenseSiamError(
                f"there is no folder {folder}: expected {layout} in data.root={root}; set data.root or data.images"
            )

        def files() -> FileImages:
            if list is not None:
                return FileImages(listed_images(folder, read_list(Path(list))))
            return FileImages(list_images(folder))

        super().__init__(train=files, val=None, classes=(), **loading)
