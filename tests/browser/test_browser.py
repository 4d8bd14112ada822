"""The pages in a real browser: they work with and without JavaScript, load nothing from elsewhere, and fit a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hubferry.core.gateway_names import GatewayNames
from hubferry.core.rewrite import rewrite
from hubferry.core.routing import RoutedUpstream, RoutingTable, resolve_host
from tests.browser.chromium import LANGUAGES, SCHEMES, WIDTHS, chromium, opened_page
from tests.browser.screens import PAGES, PASTED
from tests.browser.stage import Stage, open_stage, pull
from tests.core.test_image_names import COMMANDS, DOCKERFILES, LISTS, YAML

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytestmark = pytest.mark.real
AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
FORMS = (*DOCKERFILES.values(), *YAML.values(), *COMMANDS.values(), *LISTS.values())
SERVED = (
    "docker.io", "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "mcr.microsoft.com", "lscr.io", "nvcr.io",
    "public.ecr.aws",
)  # fmt: skip
NOTED = re.compile(r"Failed to load resource.*40[14]")  # the browser notes every page with such a status


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def names_of(stage: Stage) -> GatewayNames:
    table = RoutingTable(tuple(RoutedUpstream(name, library=name == "docker.io") for name in SERVED), "docker.io")
    address = stage.url.removeprefix("http://")
    return GatewayNames(table, resolve_host(address, table), address)


def test_every_written_form_is_rewritten_while_it_is_typed(stage: Stage, browser: Browser) -> None:
    names, problems = names_of(stage), list[str]()
    forms = [text for text, _ in FORMS if rewrite(text, names).count]
    assert len(forms) >= 60
    with opened_page(browser, problems, stage.url) as page:
        page.goto(stage.url)
        for text in forms:
            with page.expect_response(lambda answer: answer.request.method == "POST"):
                page.fill("textarea", text)
            expected = rewrite(text.replace("\r\n", "\n"), names).text
            page.wait_for_function("text => document.querySelector('#result code')?.textContent === text", arg=expected)
    assert problems == []


def test_a_command_is_copied(stage: Stage, browser: Browser) -> None:
    problems: list[str] = []
    permissions = ["clipboard-read", "clipboard-write"]
    with opened_page(browser, problems, stage.url, permissions=permissions) as page:
        page.goto(stage.url)
        page.fill("textarea", "nginx:1.29")
        page.click("#result .command button")
        page.wait_for_selector("#result .command button:has-text('Copied')")
        copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{stage.url.removeprefix('http://')}/nginx:1.29"
    assert problems == []


def test_from_a_search_to_the_layers_of_an_image(stage: Stage, browser: Browser) -> None:
    problems: list[str] = []
    with opened_page(browser, problems, stage.url) as page:
        page.goto(stage.url)
        page.click("nav >> text=Search")
        page.fill("#q", "nginx")
        page.press("#q", "Enter")
        page.click("main >> text=/^nginx$/")
        page.fill("#filter", "1.29.3")
        page.click("main button:has-text('Show')")
        page.click("table >> text=1.29.3")
        page.click("table >> text=linux/arm64")
        assert "linux/arm64" in page.inner_text("h2:has-text('Layers')")
        page.click("summary:has-text('Download')")
        with page.expect_download() as download:
            page.click("button:has-text('Download')")
        assert download.value.suggested_filename.endswith(".tar")
    assert problems == []


def test_the_language_is_switched_and_remembered(stage: Stage, browser: Browser) -> None:
    with opened_page(browser, [], stage.url) as page:
        page.goto(f"{stage.url}/search?q=nginx")
        page.click("text=简体中文")
        assert page.input_value("#q") == "nginx"
        page.click("nav a >> nth=0")
        assert page.get_attribute("html", "lang") == "zh-CN"
        page.click("text=English")
        assert page.get_attribute("html", "lang") == "en"


def test_without_javascript_the_essentials_remain(stage: Stage, browser: Browser) -> None:
    problems: list[str] = []
    with opened_page(browser, problems, stage.url, java_script_enabled=False) as page:
        page.goto(stage.url)
        page.fill("textarea", PASTED)
        page.click("form button")
        address = stage.url.removeprefix("http://")
        assert f"image: {address}/nginx:1.29  # pinned" in page.inner_text("#result pre")
        assert page.input_value("textarea") == PASTED
        page.click("summary:has-text('Podman')")
        page.goto(f"{stage.url}/image?name=nginx:1.29.3")
        assert "COPY docker-entrypoint.sh" in page.inner_text("main")
    assert problems == []


def test_the_status_page_goes_on_while_something_is_pulled(stage: Stage, browser: Browser) -> None:
    problems: list[str] = []
    with opened_page(browser, problems, stage.url, locale="en") as page:
        page.goto(f"{stage.url}/status")
        page.wait_for_selector("td:text-is('docker.io/library/nginx')")
        assert "linuxserver" not in page.inner_text("main")
        pull(stage.gateway, "linuxserver/nginx", "latest")
        page.wait_for_selector("td:text-is('docker.io/linuxserver/nginx')")
    assert problems == []


def test_an_image_is_pinned_by_a_form_of_the_page(stage: Stage, browser: Browser) -> None:
    with opened_page(browser, [], stage.url, locale="en") as page:
        page.goto(f"{stage.url}/status/images?q=1.29.3")
        page.click("button[value=pin]")
        page.wait_for_selector("button[value=unpin]")
        assert "docker.io/library/nginx:1.29.3 stays" in page.inner_text("main")


@pytest.mark.parametrize(("scheme", "language"), list(zip(SCHEMES, LANGUAGES, strict=True)))
def test_every_page_can_be_read_by_everybody(stage: Stage, browser: Browser, scheme: str, language: str) -> None:
    """axe-core finds nothing, nothing is wider than the window, and nothing is asked of anybody else."""
    problems: list[str] = []
    for width in WIDTHS:
        size = {"width": width, "height": 900}
        kinds = {"viewport": size, "locale": language, "color_scheme": scheme, "bypass_csp": True}
        with opened_page(browser, problems, stage.url, **kinds) as page:
            for name, target in PAGES.items():
                page.goto(stage.url + target)
                page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                if width == WIDTHS[0]:
                    page.add_script_tag(path=AXE)
                    found = page.evaluate("axe.run()")["violations"]
                    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], name
                is_wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
                assert not page.evaluate(is_wider), (name, width)
                assert page.get_attribute("html", "lang") == language
    assert [problem for problem in problems if not NOTED.search(problem)] == []


def test_dark_is_dark(stage: Stage, browser: Browser) -> None:
    colours = {}
    for scheme in SCHEMES:
        with opened_page(browser, [], stage.url, color_scheme=scheme) as page:
            page.goto(stage.url)
            colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours["light"] != colours["dark"]


def test_a_page_is_small(stage: Stage, browser: Browser) -> None:
    """Under 60 kB in all, with style and script, before compression."""
    sizes: list[int] = []
    with opened_page(browser, [], stage.url) as page:
        page.on("response", lambda answer: sizes.append(len(answer.body())))
        page.goto(stage.url, wait_until="networkidle")
    assert len(sizes) >= 3
    assert sum(sizes) < 60_000
