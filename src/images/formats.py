"""The image formats that are read: Pillow's name of each format, with the suffixes of its files.

Pillow knows more formats, and it chooses the format by the content of a file, not by its name. It gives a PostScript
file to Ghostscript, which executes the program in the file. So every image is opened with these formats only.
"""

# MPO, a format of cameras, begins with a JPEG and is opened as that JPEG.
FORMATS: dict[str, tuple[str, ...]] = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".ppm",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = tuple(sorted(suffix for suffixes in FORMATS.values() for suffix in suffixes))
