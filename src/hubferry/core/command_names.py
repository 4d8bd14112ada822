"""Find the images in commands: `docker run -it nginx`, `podman pull`, `ctr images pull`, `helm pull oci://...`.

Pure. Of an option that is not known to stand alone, the next word is taken for its value.
Command line references of docker, podman, nerdctl, crictl, ctr, skopeo, helm and kubectl.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from hubferry.core.written import TRANSPORTS, Line, Word, WrittenName, find_name, words_of

RUNTIMES = frozenset({"docker", "podman", "nerdctl", "crictl", "ctr", "buildah"})
COPIERS = frozenset({"skopeo", "helm", "oras", "crane"})
BEFORE = frozenset({">", "-", "sudo", "time", "exec", "env", "k3s"})
_BEFORE = re.compile(r"\w{1,100}=.*|.*[:$]")  # a value for the command, a key of YAML, a prompt
SEPARATORS = frozenset({"&&", "||", "|", "&", ";"})
GROUPS = frozenset({"image", "images", "container", "containers", "i", "c"})
PULLS = frozenset({"pull", "from"})
RUNS = frozenset({"run", "create"})
# options without a value; all others take one
ALONE = frozenset({
    "--all-platforms", "--all-tags", "--debug", "--detach", "--disable-content-trust", "--help", "--init",
    "--interactive", "--local", "--net-host", "--no-healthcheck", "--no-hosts", "--no-hostname",
    "--oom-kill-disable", "--plain-http", "--privileged", "--publish-all", "--quiet", "--read-only", "--remote",
    "--replace", "--rm", "--rmi", "--sig-proxy", "--skip-verify", "--tls", "--tls-verify", "--tlsverify", "--tty",
    "--unpack", "--verbose", "--http-proxy", "--passwd", "--stdin", "--use-api-socket", "--null-io",
})  # fmt: skip
LETTERS_ALONE = frozenset("adDhiPqtkv")  # in `-it` every letter is an option
RUN_LETTERS = LETTERS_ALONE - frozenset("av")  # of run, -a and -v have values
_TOOL = re.compile(r"(?:^|[\s/;&|\"'])(?:docker|podman|nerdctl|crictl|ctr|buildah|skopeo|helm|oras|crane|kubectl)\s")


def has_command(line: Line) -> bool:
    """Return whether a line that is no comment may hold a command that pulls images."""
    return _TOOL.search(line.text) is not None and not line.text.lstrip().startswith("#")


def names_in_commands(lines: Sequence[Line]) -> Iterator[WrittenName]:
    """Yield the images in the commands of a line, with the lines that continue it."""
    words = [(word, line.number) for line in lines for word in words_of(line)]
    for is_between, command in groupby(words, lambda one: one[0].text in SEPARATORS):
        for word, number in [] if is_between else _images(list(command)):
            name = find_name(word, number, {})
            if name is not None:
                yield name


_Words = list[tuple[Word, int]]


def _images(command: _Words) -> _Words:
    """Return the words of a command that are names of images."""
    at = 0
    while at < len(command) and (command[at][0].text in BEFORE or _BEFORE.fullmatch(command[at][0].text)):
        at += 1
    rest = command[at + 1 :]
    tool = command[at][0].text.rpartition("/")[2] if at < len(command) else ""
    if tool == "kubectl":
        return _of_kubectl(rest)
    if tool in COPIERS:
        return [one for one in rest if one[0].text.startswith(TRANSPORTS)] or (
            _of_crane(rest) if tool == "crane" else []
        )
    return _of_runtime(rest) if tool in RUNTIMES else []


def _of_runtime(words: _Words) -> _Words:
    words = _after_options(words, LETTERS_ALONE)
    if words and words[0][0].text in GROUPS:
        words = _after_options(words[1:], LETTERS_ALONE)
    if not words:
        return []
    if words[0][0].text in RUNS:
        return _after_options(words[1:], RUN_LETTERS)[:1]
    return _arguments(words[1:]) if words[0][0].text in PULLS else []


def _of_crane(words: _Words) -> _Words:
    return _arguments(words[1:])[:1] if words and words[0][0].text in ("pull", "manifest", "digest", "config") else []


def _of_kubectl(words: _Words) -> _Words:
    found = [(word.after(len("--image=")), line) for word, line in words if word.text.startswith("--image=")]
    return found + [after for before, after in pairwise(words) if before[0].text == "--image"]


def _after_options(words: _Words, alone: frozenset[str]) -> _Words:
    """Return the words behind the options at the beginning, and behind their values."""
    at = 0
    while at < len(words) and words[at][0].text.startswith("-"):
        at += 2 if _takes_value(words[at][0].text, alone) else 1
    return words[at:]


def _arguments(words: _Words) -> _Words:
    """Return the words that are no options, and not the values of options, up to a redirection."""
    found: _Words = []
    at = 0
    while at < len(words) and not re.match(r"\d?[<>]|#", words[at][0].text):
        text = words[at][0].text
        if not text.startswith("-"):
            found.append(words[at])
        at += 2 if text.startswith("-") and _takes_value(text, LETTERS_ALONE) else 1
    return found


def _takes_value(option: str, alone: frozenset[str]) -> bool:
    if option.startswith("--"):
        return option != "--" and "=" not in option and option not in ALONE
    for at, letter in enumerate(option[1:], 1):
        if letter not in alone:
            return at == len(option) - 1  # what follows it in the word is its value
    return False
