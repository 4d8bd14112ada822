"""One page: a template, filled in for one visitor, with the headers that every page has.

Pages come with a strict Content-Security-Policy: nothing inline runs, and nothing is loaded from anywhere else. A
domain whose pages look like Docker Hub's gets flagged as a fraud, so they look like hubferry's own (docs/design.md,
"Pages").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

from hubferry import __version__
from hubferry.core.http import Headers, Request
from hubferry.gateway.answer import Answer
from hubferry.pages.script import SCRIPT
from hubferry.pages.style import STYLE
from hubferry.pages.templates import ENVIRONMENT
from hubferry.pages.words import COOKIE, LANGUAGES, Words, choose_language

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
NO_STORE: Headers = (("cache-control", "no-store"),)
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY: Headers = (
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-robots-tag", "noindex, nofollow"),
)
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#0a6470" '
    'd="M4 18h24l-4 8H8zM10 10h12v6H10z"/></svg>'
)
LANGUAGE_S = 365 * 86400  # how long a chosen language is remembered
MAX_QUERY = 4096
MAX_PARAMETERS = 32
MAX_DIGITS = 6

T = TypeVar("T")


def answer(status: int, content_type: str, body: bytes, headers: Headers = ()) -> Answer:
    """Return an answer with this body, its type and its length."""
    return Answer(status, (("content-type", content_type), ("content-length", str(len(body))), *headers), body)


def plain(status: int, text: str, headers: Headers = ()) -> Answer:
    """Return an answer of one line of text."""
    return answer(status, TEXT, f"{text}\n".encode(), headers)


def missing(request: Request) -> Answer:
    """Return the 404 answer for a path that does not exist."""
    return plain(404, f"nothing is at {request.path[:512]}: see /")


def _asset(name: str, content_type: str, text: str) -> tuple[str, Answer]:
    """Return the path of a file that never changes under this path, and the answer with it."""
    body = text.encode()
    stem, _, suffix = name.rpartition(".")
    path = f"/assets/{stem}.{sha256(body).hexdigest()[:12]}.{suffix}"
    cached: Headers = (("cache-control", "public, max-age=31536000, immutable"), *SECURITY)
    return path, answer(200, content_type, body, cached)


_STYLE = _asset("hubferry.css", "text/css; charset=utf-8", STYLE)
_SCRIPT = _asset("hubferry.js", "text/javascript; charset=utf-8", SCRIPT)
_ICON = _asset("hubferry.svg", "image/svg+xml", ICON)
ASSETS: Mapping[str, Answer] = dict((_STYLE, _SCRIPT, _ICON))


@dataclass(frozen=True)
class Cut(Generic[T]):
    """Part `number` of `count` parts of a long list."""

    things: Sequence[T]
    number: int
    count: int


@dataclass(frozen=True)
class PageRequest:
    """What a visitor asks for: the request, given as the client made it, and its parameters in their last value.

    `links` are the pages that the visitor is offered: their paths and the words for them.
    """

    request: Request
    parameters: Mapping[str, str]
    links: tuple[tuple[str, str], ...]

    @property
    def language(self) -> str:
        """The visitor's language, `en` or `zh`."""
        return choose_language(self.request, self.parameters.get("lang", ""))

    @property
    def number(self) -> int:
        """Which part of a long list is asked for, counted from 1."""
        text = self.parameters.get("page", "")
        return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) < MAX_DIGITS else 1

    def cut(self, things: Sequence[T], most: int) -> "Cut[T]":
        """Return the part of a long list that is asked for, or the last one. Parts have at most `most` things."""
        count = max(1, -(-len(things) // most))
        number = min(self.number, count)
        return Cut(things[(number - 1) * most : number * most], number, count)

    @property
    def words(self) -> Words:
        """Every sentence in the visitor's language."""
        return LANGUAGES[self.language]

    def page(self, template: str, status: int = 200, **values: object) -> Answer:
        """Return the page that a template gives with these values."""
        html = ENVIRONMENT.get_template(template).render(
            t=self.words,
            version=__version__,
            style_url=_STYLE[0],
            script_url=_SCRIPT[0],
            icon_url=_ICON[0],
            links=self.links,
            this_path=self.request.path,
            language=self.language,
            language_url=self._language_url(),
            here_with=self._here_with,
            **values,
        )
        headers = (*SECURITY, *NO_STORE, ("vary", "Accept-Language, Cookie"), ("content-language", self.language))
        return answer(status, HTML, html.encode(), (*headers, *self._remembered()))

    def problem(self, status: int, text: str, headers: Headers = ()) -> Answer:
        """Return a page that says what went wrong."""
        shown = self.page("problem.html", status, problem=text)
        return Answer(shown.status, (*shown.headers, *headers), shown.body)

    def _here_with(self, **changed: object) -> str:
        """Return the URL of this page with other values of some parameters."""
        kept = {name: value for name, value in self.parameters.items() if name != "lang"}
        return "?" + urlencode(kept | {name: str(value) for name, value in changed.items()})

    def _language_url(self) -> str:
        """Return the URL of this page in the other language. A page that came of a form begins anew."""
        kept = dict(self.parameters) if self.request.method != "POST" else {}
        return "?" + urlencode(kept | {"lang": self.words["other_language"]})

    def _remembered(self) -> Headers:
        if self.parameters.get("lang") not in LANGUAGES:
            return ()
        return (("set-cookie", f"{COOKIE}={self.language}; Path=/; Max-Age={LANGUAGE_S}; SameSite=Lax; HttpOnly"),)


def parameters_of(request: Request) -> dict[str, str]:
    """Return the parameters of a page, those of a form before those of the URL; what cannot be read is left out."""
    found = _pairs(request.query) if len(request.query) <= MAX_QUERY else []
    if request.method == "POST":
        found += _pairs(request.body.decode("utf-8", "replace"))
    return dict(found)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:  # too many
        return []
