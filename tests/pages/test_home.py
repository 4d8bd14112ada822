"""The home page rewrites what is pasted, speaks the visitor's language, and loads nothing from elsewhere."""

from __future__ import annotations

import re
from html import unescape
from typing import Any, cast

import pytest

from hubferry.core.http import get
from hubferry.pages.guides import SECRET
from hubferry.pages.words import CHINESE, ENGLISH
from tests.pages.site import EVERY_KIND, HOSTS, ask, html, site


def result(page: str) -> str:
    """The part of a page with what became of a text, as people read it."""
    part = page.partition('id="result"')[2].partition("<h2>" + ENGLISH["clients"])[0]
    return unescape(re.sub(r"<[^>]+>", "", part.partition(">")[2]))


def test_a_name_is_rewritten_and_told_how_to_pull() -> None:
    shown = result(html(ask(site(HOSTS), form={"text": "nginx:1.27"})))
    assert "docker pull gw.example.com/nginx:1.27" in shown
    assert "docker tag gw.example.com/nginx:1.27 nginx:1.27" in shown


def test_a_file_is_rewritten_as_a_whole() -> None:
    text = "services:\r\n  web:\r\n    image: nginx # <b>\r\n  own:\r\n    image: reg.internal/x\r\n"
    shown = result(html(ask(site(HOSTS), form={"text": text})))
    assert "services:\n  web:\n    image: gw.example.com/nginx # <b>\n  own:\n    image: reg.internal/x\n" in shown
    assert ENGLISH["not_served"].format(names="reg.internal/x") in shown


def test_what_is_pasted_never_becomes_a_part_of_the_page() -> None:
    page = html(ask(site(HOSTS), form={"text": "</textarea><script>alert(1)</script>\nnginx"}))
    assert "<script>alert" not in page


def test_who_has_texts_rewritten_is_counted() -> None:
    """A long text takes a second of a processor."""
    asked = site(HOSTS)
    assert html(ask(asked)).count("<form") == 1
    assert result(html(ask(asked, form={"text": "nginx"})))
    assert result(html(ask(asked, form={"text": "nginx\n" * 200})))
    refused = ask(asked, form={"text": "nginx"})
    assert (refused.status, get(refused.headers, "retry-after")) == (429, "9")
    assert "slow down" in html(refused)
    visitors = cast("Any", asked._pages["/"]).__self__._visitors
    assert [is_costly for _, is_costly in visitors.admitted] == [False, True, False]


def test_a_text_without_a_name_is_told() -> None:
    assert ENGLISH["nothing_found"] in result(html(ask(site(HOSTS), form={"text": "what is this?"})))


def test_nothing_pasted_is_no_problem() -> None:
    assert result(html(ask(site(HOSTS)))).strip() == ""
    assert result(html(ask(site(HOSTS), form={"text": "  "}))).strip() == ""


LANGUAGES: dict[str, tuple[dict[str, str], str, str]] = {
    "nothing said": ({}, "/", "en"),
    "Chinese": ({"accept_language": "zh-CN,zh;q=0.9,en;q=0.8"}, "/", "zh-CN"),
    "Chinese after another": ({"accept_language": "fr, zh;q=0.5, en;q=0.1"}, "/", "zh-CN"),
    "Chinese after English": ({"accept_language": "en, zh;q=0.5"}, "/", "en"),
    "nonsense": ({"accept_language": "zh;q=x,,;;,zh;q=7"}, "/", "en"),
    "the cookie first": ({"accept_language": "en", "cookie": "a=b; hubferry-language=zh"}, "/", "zh-CN"),
    "the link first of all": ({"cookie": "hubferry-language=zh"}, "/?lang=en", "en"),
    "a language that there is not": ({"cookie": "hubferry-language=../x"}, "/?lang=xx", "en"),
}


@pytest.mark.parametrize(("headers", "target", "language"), LANGUAGES.values(), ids=LANGUAGES.keys())
def test_a_page_has_one_language(headers: dict[str, Any], target: str, language: str) -> None:
    answer = ask(site(HOSTS), target, **headers)
    page = html(answer)
    assert f'<html lang="{language}">' in page
    this, other = (CHINESE, ENGLISH) if language == "zh-CN" else (ENGLISH, CHINESE)
    assert this["clients"] in page
    assert other["clients"] not in page
    remembered = get(answer.headers, "set-cookie")
    assert (
        remembered is None
        if "lang=en" not in target
        else remembered is not None and "hubferry-language=en;" in remembered
    )


def test_both_languages_say_everything() -> None:
    assert ENGLISH.keys() == CHINESE.keys()
    for key, text in ENGLISH.items():
        assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", CHINESE[key]), key
        assert text.strip(), key


@pytest.mark.parametrize("host", EVERY_KIND)
def test_nothing_is_loaded_from_elsewhere_and_nothing_inline_runs(host: str) -> None:
    answer = ask(site(HOSTS), host=host)
    policy = get(answer.headers, "content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = html(answer)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    for link in re.findall(r'(?:href|src|action)="([^"]*)"', page):
        assert link.startswith(("/", "#", "?")), link
    for path in re.findall(r'(?:href|src)="(/assets/[^"]*)"', page):
        asset = ask(site(HOSTS), path, host)
        assert asset.status == 200
        assert "immutable" in (get(asset.headers, "cache-control") or "")


def test_a_secret_in_the_path_is_never_on_the_page() -> None:
    page = html(ask(site({**HOSTS, "access": {"login": "users", "users_file": "x"}})))
    assert SECRET in page
    assert "hubferry_" not in page


def test_an_upstream_that_is_away_is_told() -> None:
    down = html(ask(site(HOSTS, "quay.io")))
    assert f"quay.io: {ENGLISH['upstream_down']}" in down
    assert ENGLISH["upstream_down"] not in html(ask(site(HOSTS)))


def test_a_host_name_that_is_not_its_own_gets_a_page_that_says_so() -> None:
    answer = ask(site(HOSTS), host="evil.example")
    assert answer.status == 404
    assert "hub.example.com" in html(answer)


OTHERS = {"/robots.txt": 200, "/healthz": 200, "/x": 404, "/assets/hubferry.0.css": 404}


@pytest.mark.parametrize(("path", "status"), OTHERS.items())
def test_other_paths(path: str, status: int) -> None:
    assert ask(site(), path).status == status


@pytest.mark.parametrize("path", ["/robots.txt", "/healthz", "/x"])
def test_only_pages_with_a_form_take_one(path: str) -> None:
    answer = ask(site(), path, form={"text": "x"})
    assert (answer.status, get(answer.headers, "allow")) == (405, "GET, HEAD")


def test_a_page_with_a_form_says_so_to_other_methods() -> None:
    answer = ask(site(), "/", method="PUT")
    assert (answer.status, get(answer.headers, "allow")) == (405, "GET, HEAD, POST")


def test_the_log_is_told_why_a_page_failed() -> None:
    answer = ask(site(HOSTS), "/", host="other.example.com")
    assert (answer.status, answer.record.outcome_name) == (404, "error")
    assert "other.example.com" in answer.record.problem
