"""Find the images that a Dockerfile is built from: FROM, COPY --from, RUN --mount=from=, and its syntax.

Pure. Dockerfile reference: "FROM", "Understand how ARG and FROM interact", "COPY --from", "Parser directives",
"Here-documents". Names of stages are no images, and neither is `scratch`. Not here: values of `--build-arg`.
"""

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice

from hubferry.core.written import Line, Word, WrittenName, continued, expand, find_name, lines_of, unquoted, words_of

MAX_STAGES = 200  # with which a name that has a variable without a value is compared
_BEGINS = re.compile(r"\s*(?:FROM|ARG)\s+[^\s:=]|\s*COPY\s+--from=", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*(\w{1,20})\s*=\s*(\S+)\s*", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?([\"']?)(\w{1,100})\1")
_ASSIGNMENT = re.compile(r"(\w{1,200})=(.*)", re.DOTALL)


def is_dockerfile(text: str) -> bool:
    """Return whether a text is a Dockerfile: its first instruction is FROM or ARG, as docker demands."""
    for line in lines_of(text):
        stripped = line.text.strip()
        if stripped and not stripped.startswith("#"):
            return _BEGINS.match(line.text) is not None
    return False


def names_in_dockerfile(text: str) -> Iterator[WrittenName]:
    """Yield the images of a Dockerfile in their order, with the defaults of its ARGs."""
    directives = dict(_directives(text))
    if (syntax := directives.get("syntax")) is not None and (name := find_name(*syntax, {})) is not None:
        yield name
    escape = directives["escape"][0].text if "escape" in directives else "\\"
    reader = _Reader()
    for lines in _without_heredocs(continued(lines_of(text), escape if escape in ("\\", "`") else "\\")):
        yield from reader.read(lines)


def _directives(text: str) -> Iterator[tuple[str, tuple[Word, int]]]:
    """Yield the parser directives, which are the comments before everything else, and the lines they stand in."""
    for line in lines_of(text):
        found = _DIRECTIVE.fullmatch(line.text)
        if found is None:
            return
        yield found[1].lower(), (Word(found[2], line.start + found.start(2)), line.number)


def _without_heredocs(instructions: Iterator[list[Line]]) -> Iterator[list[Line]]:
    """Yield the instructions without the documents that stand below some of them."""
    waiting: deque[str] = deque()
    for lines in instructions:
        if waiting:
            if lines[-1].text.strip() == waiting[0]:
                waiting.popleft()
            continue
        yield lines
        first = lines[0].text.lstrip().upper()
        if first.startswith(("RUN", "COPY", "ADD")):
            waiting.extend(found[2] for line in lines for found in _HEREDOC.finditer(line.text))


class _Reader:
    """What was read of a Dockerfile so far: the ARGs before its first stage, and the names of its stages."""

    def __init__(self) -> None:
        self._arguments: dict[str, str] = {}
        self._stages: dict[str, None] = {}
        self._has_begun = False

    def read(self, lines: list[Line]) -> Iterator[WrittenName]:
        words = [(word, line.number) for line in lines for word in words_of(line)]
        if not words:
            return
        instruction = words[0][0].text.upper()
        if instruction == "ARG" and not self._has_begun:
            self._note_arguments([word.text for word, _ in words[1:]])
        elif instruction == "FROM":
            yield from self._from(words[1:])
        elif instruction in ("COPY", "ADD", "RUN"):
            yield from self._others(words[1:])

    def _note_arguments(self, words: list[str]) -> None:
        for text in words:
            found = _ASSIGNMENT.fullmatch(text)
            if found is not None:
                self._arguments[found[1]] = expand(unquoted(Word(found[2], 0)).text, self._arguments)

    def _from(self, words: list[tuple[Word, int]]) -> Iterator[WrittenName]:
        self._has_begun = True
        words = [one for one in words if not one[0].text.startswith("--")]
        if words:
            yield from self._named(*words[0])
        if len(words) >= 3 and words[1][0].text.upper() == "AS":
            self._stages[words[2][0].text.lower()] = None

    def _others(self, words: list[tuple[Word, int]]) -> Iterator[WrittenName]:
        """Yield the images of the flags of COPY and RUN, in which docker replaces no variables."""
        for word, line in words:
            if not word.text.startswith("--"):
                return
            if word.text.startswith("--from="):
                found = word.after(len("--from="))
            elif word.text.startswith("--mount=") and (at := _mounted_from(word.text)):
                found = Word(word.text[at:].partition(",")[0], word.start + at)
            else:
                continue
            if not found.text.isdecimal() and "$" not in found.text:  # a number counts stages
                yield from self._named(found, line)

    def _named(self, word: Word, line: int) -> Iterator[WrittenName]:
        name = find_name(word, line, self._arguments)
        if name is not None and name.name != "scratch" and not self._is_stage(name.name.lower()):
            yield name

    def _is_stage(self, name: str) -> bool:
        """Return whether a name is that of a stage above, or could be with a value that only the builder knows."""
        before, variable, _ = name.partition("$")
        if not variable or not before:
            return name in self._stages
        return any(stage.startswith(before) for stage in islice(self._stages, MAX_STAGES))


def _mounted_from(text: str) -> int:
    """Return where the value of `from` begins in a --mount flag, 0: it has none."""
    found = re.search(r"[=,]from=", text)
    return found.end() if found else 0
