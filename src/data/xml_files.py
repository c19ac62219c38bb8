"""Reading XML files, which may come from a stranger: without entities, and of a bounded size and depth."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from src.images.reading import UnreadableFileError
from src.regular import open_regular

MOST_BYTES = 2**20
DEEPEST = 32  # elements inside one another; VOC has 4


def read_xml(path: Path) -> Element:
    """The root element of an XML file.

    A document type is refused: it can define entities that read other files, or that are expanded without end.

    Raises:
        UnreadableFileError: the file can't be read, or is not such XML.
    """
    builder, parser = BoundedBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, _refuse
    parser.buffer_text = True
    try:
        with open_regular(path) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES // 2**20} MiB")
        parser.Parse(content, True)
        return builder.close()
    except (OSError, ValueError, LookupError, expat.ExpatError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableFileError(
            f"can't read the annotation {path} ({said}): expected XML as VOC has it; replace or remove the file"
        ) from error


class BoundedBuilder(TreeBuilder):
    """Builds elements that are at most `DEEPEST` inside one another."""

    depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} elements inside one another")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:
        self.depth -= 1
        return super().end(tag)


def _refuse(*_: Any) -> None:
    raise ValueError("it has a DOCTYPE")
