"""Which kinds of image files are read: Pillow's names of the formats, each with the suffixes that are listed.

Pillow knows more formats than these and opens a file by its content, whatever its name: what it takes for PostScript it
hands to Ghostscript, a program that runs what the file says. So every image is opened with these formats alone.
"""

# A camera's MPO is opened as the JPEG that it begins with.
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
