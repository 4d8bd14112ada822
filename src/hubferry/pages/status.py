"""The status page, for operators: what the gateway does, live; and what it keeps, which they may change there.

Changes are taken from the page itself only: a POST that a browser says comes from this gateway (`Sec-Fetch-Site`, or
`Origin` of browsers that do not send it). Another site cannot make a browser that is logged in send one.
Not here: who is an operator (gateway/operators.py), where the figures come from (ports of pages/board.py).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlencode

from hubferry.core.activity import SPANS, Figures
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.gateway.answer import Answer
from hubferry.pages.board import Board, Overview
from hubferry.pages.chart import chart
from hubferry.pages.figures import shown_size
from hubferry.pages.page import NO_STORE, SECURITY, PageRequest, missing
from hubferry.pages.places import Places
from hubferry.pages.remedies import remedy_of
from hubferry.pages.templates import ENVIRONMENT
from hubferry.pages.words import LANGUAGES
from hubferry.ports.shell import Visit

STATUS = "/status"
EVENTS = "/status/events"
IMAGES = "/status/images"
MAX_ORDER_BYTES = 4096  # of a form
SHOWN = 50  # images of one page
MAX_WORDS = 200
BARS = {"hour": 6, "day": 3, "week": 2}  # how many intervals of a span are one step of its chart
ACTIONS = ("warm", "remove", "pin", "unpin")
DONE = ("warm_ordered", "was_removed", "was_pinned", "was_unpinned")

Show = Callable[[PageRequest, Request, str], Awaitable[Answer]]


class StatusPages:
    """The pages below /status. For whoever is no operator there are none."""

    def __init__(self, places: Places, board: Board) -> None:
        self._places = places
        self._board = board
        self._pages: Mapping[str, Show] = {STATUS: self._status, EVENTS: self._events, IMAGES: self._images}

    def has(self, path: str) -> bool:
        """Return whether a path is one of these pages."""
        return path in self._pages

    def is_for(self, request: Request, arrived: Request) -> bool:
        """Return whether the visitor is offered these pages."""
        return self._board.is_operator(request, arrived)

    async def show(self, arrived: Request, asked: PageRequest, visit: Visit) -> Answer:
        """Return a page; for whoever is no operator the same 404 as at a path where nothing is.

        Raises OciError: 401 when a login may change that, 403 under a strange name.
        """
        try:
            who = await self._board.operator(asked.request, arrived, visit)
        except OciError as error:
            if error.status != 404:
                raise
            return missing(asked.request)
        self._places.check_own_name(asked.request)
        return await self._pages[asked.request.path](asked, arrived, who)

    async def _status(self, asked: PageRequest, _arrived: Request, _who: str) -> Answer:
        overview = await self._board.look()
        values = {"events": EVENTS, "keeps": self._board.keeps, **shown(overview, asked.language)}
        return asked.page("status.html", 200, **values)

    async def _events(self, asked: PageRequest, _arrived: Request, _who: str) -> Answer:
        # a proxy that buffers would hold the figures back until there are many
        headers = (("content-type", "text/event-stream"), ("x-accel-buffering", "no"), *NO_STORE, *SECURITY)
        if asked.request.method == "HEAD":
            return Answer(200, headers)
        return Answer(200, headers, self._board.follow(asked.language))

    async def _images(self, asked: PageRequest, _arrived: Request, who: str) -> Answer:
        if not self._board.keeps:
            raise OciError(404, Code.NAME_UNKNOWN, "nothing is kept here: cache.enabled is false")
        if asked.request.method == "POST":
            return await self._change(asked, who)
        words = asked.parameters.get("q", "").strip()[:MAX_WORDS]
        found = await self._board.kept(words)
        cut = asked.cut(found, SHOWN)
        done = asked.parameters.get("done", "")
        overview = await self._board.look()
        return asked.page(
            "kept.html",
            q=words,
            images=cut.things,
            count=len(found),
            number=cut.number,
            pages=cut.count,
            done=done if done in DONE else "",
            image=asked.parameters.get("image", "")[:MAX_WORDS],
            jobs=overview.jobs,
            now=overview.now,
        )

    async def _change(self, asked: PageRequest, who: str) -> Answer:
        """Do what a form orders, and lead back to the list. Raises OciError."""
        self._check_origin(asked.request)
        form = asked.parameters
        action = form.get("action", "")
        if action not in ACTIONS:
            raise OciError(400, Code.UNSUPPORTED, f"an action is missing: one of {', '.join(ACTIONS)}")
        try:
            done = await self._board.change(action, form, who, asked.request.peer)
        except ValueError as error:
            raise OciError(400, Code.UNSUPPORTED, str(error)) from None
        back = {"done": done, "image": form.get("image", "")[:MAX_WORDS], "q": form.get("q", "")[:MAX_WORDS]}
        query = urlencode({name: value for name, value in back.items() if value})
        return Answer(303, (("location", f"{IMAGES}?{query}"), ("content-length", "0"), *NO_STORE, *SECURITY), b"")

    def _check_origin(self, request: Request) -> None:
        """Raise OciError 403 for a form that was not sent from a page of this gateway."""
        site = request.header("sec-fetch-site")
        own = self._places.at(request).base_url
        origin = request.header("origin")
        if site != "same-origin" and (site is not None or origin not in (own, f"{request.scheme}://{request.host}")):
            problem = "this form was not sent from the gateway's own page: open /status/images and send it there"
            raise OciError(403, Code.DENIED, problem)


def event(overview: Overview, language: str) -> bytes:
    """Return the changing part of the page as one server-sent event (HTML standard, section 9.2)."""
    values = {"t": LANGUAGES[language], "language": language, **shown(overview, language)}
    html = ENVIRONMENT.get_template("figures.html").render(values)
    lines = "".join(f"data: {line}\n" for line in html.splitlines() if line)
    return f"{lines}\n".encode()


def shown(overview: Overview, language: str) -> dict[str, object]:
    """Return the values of the template for the changing part."""
    words = LANGUAGES[language]
    spans = []
    for name, step_s, _ in SPANS:
        figures = _steps(overview.spans[name], BARS[name])
        sent = chart([float(one.sent_bytes) for one in figures])
        ratio = chart([one.hit_ratio for one in figures], top=1.0)
        whole = sum(figures, Figures())
        per_s = (sent.top or 0) / (step_s * BARS[name])
        spans.append({"name": words[f"last_{name}"], "sent": sent, "ratio": ratio, "whole": whole, "top": per_s})
    problems = [(one, words[remedy_of(one.status, one.text)]) for one in overview.problems]
    return {"overview": overview, "now": overview.now, "spans": spans, "problems": problems, "rate": shown_rate}


def shown_rate(bytes_per_s: float) -> str:
    """Return a rate with its unit."""
    return f"{shown_size(round(bytes_per_s))}/s"


def _steps(figures: Sequence[Figures], count: int) -> list[Figures]:
    """Return the sums of `count` intervals each."""
    return [sum(figures[at : at + count], Figures()) for at in range(0, len(figures), count)]
