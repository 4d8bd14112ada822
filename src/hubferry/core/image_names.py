"""Find the image names in what people paste: Dockerfiles, Compose files, Kubernetes manifests, commands, lists.

Pure, in time linear in the text, which is bounded by MAX_TEXT. Every name comes with its place, so that a rewritten
text differs from the pasted one in these places only.

    the first instruction is FROM or ARG     a Dockerfile (dockerfile_names.py)
    otherwise, in every line                 `image` keys (yaml_names.py), then commands (command_names.py)
    nothing of these anywhere, no YAML       a list: one name in a line, `#` begins a comment

Not here: what a name means (image.py), and how it is written for a gateway.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from hubferry.core.command_names import has_command, names_in_commands
from hubferry.core.dockerfile_names import is_dockerfile, names_in_dockerfile
from hubferry.core.written import PLAIN, Line, Word, WrittenName, continued, find_name, lines_of
from hubferry.core.yaml_names import YamlReader

MAX_TEXT = 2**20  # characters
NOTHING: Mapping[str, str] = MappingProxyType({})
_LISTED = re.compile(rf"[ \t]*+(?:[-*][ \t]++)?([\"'`]?)((?:\[[0-9a-fA-F:.]++\])?{PLAIN})\1,?(?:[ \t]*+|[ \t]++#.*)")
_UNIT = re.compile(r"Image[ \t]*+=[ \t]*+(\S++)[ \t]*+")  # a Quadlet file of podman
_YAML_KEY = re.compile(r"(?:\s*-)?\s*[\w\"'./-]++\s*:(?:\s|$)")
_ARGUMENT = re.compile(r"\s*(?:export\s+)?\w+=")


def find_image_names(text: str, variables: Mapping[str, str] = NOTHING) -> list[WrittenName]:
    """Return the image names in a text, in the order of their places.

    `variables` are the values of variables in Compose files, such as those of the environment; the defaults that are
    written in the text count where there is no value. Raises ValueError for a text longer than MAX_TEXT.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"the text is longer than {MAX_TEXT} characters: give it in parts")
    found = names_in_dockerfile(text) if is_dockerfile(text) else _names_in_lines(text, variables)
    by_place = {name.start: name for name in found}
    return [by_place[start] for start in sorted(by_place)]


def _names_in_lines(text: str, variables: Mapping[str, str]) -> Iterator[WrittenName]:
    """Yield the names of `image` keys and commands; where there is nothing of that, the names of a list."""
    reader = YamlReader(variables)
    is_list = True
    for lines in continued(lines_of(text)):
        is_text = [reader.is_text(line) for line in lines]
        for line in lines:
            if not is_text[0] and not _is_comment(line):
                if (unit := _UNIT.fullmatch(line.text)) is not None:
                    is_list = False
                    yield from _named(Word(unit[1], line.start + unit.start(1)), line)
                is_list = is_list and not _YAML_KEY.match(line.text) and not _ARGUMENT.match(line.text)
                yield from reader.read(line)
        if any(has_command(line) for line in lines):
            is_list = False
            yield from names_in_commands(lines)
    yield from reader.end()
    if is_list:
        for line in lines_of(text):
            yield from _listed(line)


def _listed(line: Line) -> Iterator[WrittenName]:
    found = _LISTED.fullmatch(line.text)
    if found is not None and not _is_comment(line):
        yield from _named(Word(found[2], line.start + found.start(2)), line)


def _named(word: Word, line: Line) -> Iterator[WrittenName]:
    name = find_name(word, line.number, NOTHING)
    if name is not None:
        yield name


def _is_comment(line: Line) -> bool:
    return line.text.lstrip().startswith("#")
