"""Words of a text with their places in it, and the image names among them: what the readers of image_names.py share.

Pure, in time linear in the text. A name keeps its place, so that it can be replaced where it stands and everything else
remains as it was written. Grammar of names: distribution/reference. Variables: Compose, "Interpolation", and
Dockerfile, "Environment replacement".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_NAME = 512  # characters, with its variables; a repository has at most 255, a tag 128, a digest 135
MAX_NESTED = 4  # defaults within defaults

_NESTED = r"\$\{(?:\$\{(?:[^{}\n])*+\}|[^{}\n])*+\}"
# a name as it may be written without quotes: variables may contain what names may not
PLAIN = rf"(?:{_NESTED}|[^\s,{{}}\[\]\"'`;&|<>()])++"
_WORD = re.compile(rf"&&|\|\|?|;|(?:{_NESTED}|\"[^\"\n]*+\"|'[^'\n]*+'|[^\s;&|])++|&")
_VARIABLE = re.compile(r"\$(?:(\w{1,200})|\{(\w{1,200})(?:(:?[-+?])((?:\$\{[^{}\n]*+\}|[^{}\n])*+))?\})")
_REPOSITORY = r"[a-z0-9]++(?:(?:\.|_|__|-++)[a-z0-9]++)*+"
_HOST = r"(?:[A-Za-z0-9.-]++|\[[0-9a-fA-F:.]++\])(?::\d{1,5})?"
_NAME = re.compile(
    rf"(?:{_HOST}/)?{_REPOSITORY}(?:/{_REPOSITORY})*+(?::\w[\w.-]{{0,127}})?"
    r"(?:@(?:[a-z0-9+._-]++:[0-9a-fA-F]{32,128}|x))?",
    re.ASCII,
)
TRANSPORTS = ("docker://", "oci://")  # before a name, in commands of skopeo and helm


@dataclass(frozen=True, slots=True)
class WrittenName:
    """An image name in a text.

    `text[start:end]` is `written`, in characters; `line` counts from 1. `name` is the name with the values of its
    variables; those without a value stand in it as they are written.
    """

    line: int
    start: int
    end: int
    written: str
    name: str

    @property
    def is_complete(self) -> bool:
        """Return whether every variable in the name had a value, so that it names an image."""
        return "$" not in self.name


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text without the quotes around it, and the place of its first character in the text."""

    text: str
    start: int

    def after(self, length: int) -> "Word":
        """Return the word without its first `length` characters, and without quotes around the rest."""
        return unquoted(Word(self.text[length:], self.start + length))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a text without its end, and the place of its first character in the text."""

    text: str
    start: int
    number: int


def lines_of(text: str) -> Iterator[Line]:
    """Yield the lines of a text, which end with LF or CR LF."""
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        yield Line(line.removesuffix("\r"), start, number)
        start += len(line) + 1


def unquoted(word: Word) -> Word:
    """Return a word without the quotes around it."""
    text = word.text
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return Word(text[1:-1], word.start + 1)
    return word


def words_of(line: Line) -> list[Word]:
    """Return the words of a line as a shell separates them; `&&`, `||`, `|`, `&` and `;` are words of their own."""
    return [unquoted(Word(found[0], line.start + found.start())) for found in _WORD.finditer(line.text)]


def continued(lines: Iterator[Line], escape: str = "\\") -> Iterator[list[Line]]:
    """Yield lines together with those that continue them, without the `escape` at their ends.

    Comments between the lines of a continued one are left out, as in Dockerfiles.
    """
    group: list[Line] = []
    for line in lines:
        if line.text.lstrip().startswith("#"):
            if not group:
                yield [line]
            continue
        ended = line.text.rstrip()
        if ended.endswith(escape):
            group.append(Line(ended[:-1], line.start, line.number))
            continue
        yield [*group, line]
        group = []
    if group:
        yield group


def expand(text: str, values: Mapping[str, str], depth: int = 0) -> str:
    """Return a text with its variables replaced by their values or by the defaults written with them.

    A variable without a value remains, and so does everything in a text that is longer than a name may be.
    """
    if "$" not in text or len(text) > MAX_NAME or depth > MAX_NESTED:
        return text

    def value_of(found: re.Match[str]) -> str:
        value, how, word = values.get(found[1] or found[2]), found[3] or "", found[4] or ""
        if value is not None and len(value) > MAX_NAME:
            return found[0]
        if how.endswith("+"):
            return expand(word, values, depth + 1) if value or (value is not None and how == "+") else ""
        if value or (value is not None and not how.startswith(":")):
            return value
        return expand(word, values, depth + 1) if how.endswith("-") else found[0]

    return _VARIABLE.sub(value_of, text)


def find_name(word: Word, line: int, values: Mapping[str, str]) -> WrittenName | None:
    """Return the image name that a word is, after a transport if it begins with one; None when it is none."""
    for transport in TRANSPORTS:
        if word.text.startswith(transport):
            word = word.after(len(transport))
    name = expand(word.text, values)
    if not word.text or len(word.text) > MAX_NAME or not is_name(name):
        return None
    return WrittenName(line, word.start, word.start + len(word.text), word.text, name)


def is_name(name: str) -> bool:
    """Return whether a text is an image name; a variable in it may stand for any part."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(_VARIABLE.sub("x", name)) is not None
