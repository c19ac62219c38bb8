"""A hook of MkDocs: writes the tables of the page "Every value" from the comments in conf/, and equations as MathML.

A value is described by the comment on its own line or by the comment lines directly above it. A file that only changes
a value needs no comment: it has the description of the file that introduces the value.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from latex2mathml.converter import convert

CONF = Path(__file__).resolve().parents[1] / "conf"
MARKER = "<!-- values -->"
WITHOUT_MEANING = {"defaults", "_target_", "_partial_", "_recursive_", "_convert_"}
CHANGES = ("experiment", "ablation", "sweep", "debug")  # groups whose files only change values of others
PACKAGES = {"linear_probe": "task.linear_probe"}  # where a group's values are, if its name does not say it
COMMAND_END = "   "  # in the comment at the top of a file, separates a command from what it does
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


class Value(NamedTuple):
    """A value of a config file.

    Attributes:
        name: as on the command line, `data.views.size`.
        text: the value as the file has it.
        comment: its description in this file; empty without one.
    """

    name: str
    text: str
    comment: str


class File(NamedTuple):
    """A config file.

    Attributes:
        group: `model/encoder`; empty for the config of a command.
        name: without its suffix.
        comment: the comment at its top.
        values: its values, in their order.
    """

    group: str
    name: str
    comment: str
    values: list[Value]


def read(path: Path, conf: Path) -> File:
    """Read a config file with its comments."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    group = path.parent.relative_to(conf).as_posix()
    group = "" if group == "." else group
    heading = list(first_comments(lines))
    place = "" if not group or "# @package _global_" in heading else PACKAGES.get(group, group.replace("/", "."))
    root = yaml.compose(text)
    values = list(values_of(root, place, lines, len(heading))) if isinstance(root, yaml.MappingNode) else []
    texts = [line.lstrip("# ") for line in heading if "@package" not in line]
    comment = " ".join(
        text + COMMAND_END if text.startswith("python ") and "   " not in text else text for text in texts
    )
    return File(group, path.stem, comment, values)


def first_comments(lines: Sequence[str]) -> Iterator[str]:
    """The comment lines at the top of a file."""
    for line in lines:
        if not line.startswith("#"):
            return
        yield line


def values_of(node: yaml.MappingNode, place: str, lines: Sequence[str], top: int) -> Iterator[Value]:
    """The values below a mapping of YAML.

    Args:
        node: the mapping.
        place: its dotted name; empty at the top.
        lines: the lines of the file.
        top: number of lines at the top of the file that describe the file.
    """
    for key, value in node.value:
        if key.value in WITHOUT_MEANING:
            continue
        name = f"{place}.{key.value}" if place else str(key.value)
        if isinstance(value, yaml.MappingNode) and value.value:
            built = next((str(each.value) for item, each in value.value if item.value == "_target_"), None)
            if built is not None:
                yield Value(name, built.rpartition(".")[2], comment_of(key, key, lines, top))
            yield from values_of(value, name, lines, top)
        else:
            is_below = value.start_mark.line > key.start_mark.line
            yield Value(name, written(value, lines), comment_of(key, key if is_below else value, lines, top))


def written(node: yaml.Node, lines: Sequence[str]) -> str:
    """A value as the file has it; of a list over several lines, the names of what is built."""
    start, end = node.start_mark, node.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column] or "null"
    return ", ".join(re.findall(r"_target_: \S*\.(\w+)", "\n".join(lines[start.line : end.line]))) or "..."


def comment_of(key: yaml.Node, value: yaml.Node, lines: Sequence[str], top: int) -> str:
    """The comment after a value, or else the comment lines directly above its key.

    Args:
        key: the node of the key.
        value: the node of the value; for a mapping, the key once more, whose line has the comment.
        lines, top: see `values_of`.
    """
    rest = lines[value.end_mark.line][value.end_mark.column :] if value.end_mark.line < len(lines) else ""
    if rest.lstrip(": ").startswith("#"):
        return rest.lstrip(":# ")
    above: list[str] = []
    line = key.start_mark.line - 1
    while line >= top and lines[line].lstrip().startswith("#"):
        above.insert(0, lines[line].lstrip("# "))
        line -= 1
    return " ".join(above)


def files(conf: Path = CONF) -> list[File]:
    """All config files, those of the commands first; without Hydra's own."""
    paths = sorted(path for path in conf.rglob("*.yaml") if path.relative_to(conf).parts[0] != "hydra")
    return [read(path, conf) for path in sorted(paths, key=lambda path: (path.parent != conf, path))]


def key_of(config: File, value: Value) -> str:
    """Under which name a value is described: commands may give the same name another meaning."""
    name = re.sub(r"^task\.optimizer\.", "optimizer.", value.name)  # the task takes over the group optimizer
    if config.group.partition("/")[0] in CHANGES or not config.group:
        return name if "." in name else f"{config.name if not config.group else 'train'}: {name}"
    return name


def descriptions(configs: Sequence[File]) -> dict[str, str]:
    """Name of a value -> its description, in the first file that has one and does not only change values of others."""
    found: dict[str, str] = {}
    for config in configs:
        for value in config.values:
            if value.comment and config.group.partition("/")[0] not in CHANGES:
                found.setdefault(key_of(config, value), value.comment)
    return found


def undescribed(configs: Sequence[File]) -> list[str]:
    """The values that no file describes, as `conf/GROUP/NAME.yaml: VALUE`."""
    known = descriptions(configs)
    return [
        f"{Path('conf', config.group, config.name).as_posix()}.yaml: {value.name}"
        for config in configs
        for value in config.values
        if key_of(config, value) not in known and not value.name.startswith("hydra.")
    ]


def cell(text: str) -> str:
    """A text as the cell of a table in Markdown, which shows its signs as they are."""
    return re.sub(r"([\\`*_<>|$\[\]])", r"\\\1", text)


def code(text: str) -> str:
    """A text as code in the cell of a table in Markdown."""
    return "`" + text.replace("|", "\\|") + "`"


def explained(comment: str) -> str:
    """The comment at the top of a file as a cell: what it says, and below it the command, if the comment has one."""
    command, _, text = comment.partition(COMMAND_END)
    return f"{cell(text.strip())}<br>{code(command)}" if text.strip() else cell(comment)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown; none without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines, ""] if lines else []


def values_table(configs: Sequence[File], known: dict[str, str]) -> list[str]:
    """The values of a command or of a group: name, what each option has, meaning."""
    rows: dict[str, dict[str, list[str]]] = {}
    meanings: dict[str, list[str]] = {}
    for config in configs:
        for value in config.values:
            if value.name.startswith("hydra."):
                continue
            rows.setdefault(value.name, {}).setdefault(value.text, []).append(config.name)
            meaning = value.comment or known.get(key_of(config, value), "")
            if meaning not in meanings.setdefault(value.name, []):
                meanings[value.name].append(meaning)
    return table(
        ("value", "default", "meaning"),
        (
            (
                code(name),
                "<br>".join(
                    code(text) + (f" {', '.join(options)}" if len(texts) > 1 else "") for text, options in texts.items()
                ),
                cell("; ".join(meanings[name])),
            )
            for name, texts in rows.items()
        ),
    )


def values_page(conf: Path = CONF) -> str:
    """The tables of all values in Markdown: first those of each command, then group by group."""
    configs = files(conf)
    known = descriptions(configs)
    lines = []
    for config in configs:
        if not config.group:
            lines += [f"## The command {config.name}", "", *values_table([config], known)]
    for group in sorted({config.group for config in configs if config.group}):
        members = [config for config in configs if config.group == group]
        lines += [f"## {code(group)}", ""]
        lines += table(("option", ""), ((code(config.name), explained(config.comment)) for config in members))
        lines += values_table(members, known) if group not in CHANGES else []
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where a page asks for them. MkDocs calls this for every page."""
    return markdown.replace(MARKER, values_page()) if MARKER in markdown else markdown


def on_page_content(html: str, **_: Any) -> str:
    """Write equations as MathML, which browsers show without any script. MkDocs calls this for every page."""
    return EQUATION.sub(lambda found: mathml(unescape(found[2]), is_block=found[1] == "div"), html)


def mathml(latex: str, is_block: bool) -> str:
    """An equation as MathML, in a box of its own if it is a block."""
    written = str(convert(latex.strip(), display="block" if is_block else "inline"))
    return f'<div class="equation">{written}</div>' if is_block else written
