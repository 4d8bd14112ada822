"""Image names as people write them."""

import pytest

from hubferry.core.image import ImageName, parse_image, split_image
from hubferry.core.settings_sources import SettingsSource, resolve

SETTINGS = resolve([SettingsSource("test", {"upstreams": {"localhost:5001": {}}})])
DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ("docker.io", "library/nginx", "")),
        ("nginx:1.27", ("docker.io", "library/nginx", "1.27")),
        ("bitnami/redis", ("docker.io", "bitnami/redis", "")),
        ("docker.io/nginx:1", ("docker.io", "library/nginx", "1")),
        ("index.docker.io/nginx", ("docker.io", "library/nginx", "")),
        ("ghcr.io/owner/app:v1", ("ghcr.io", "owner/app", "v1")),
        (f"quay.io/a/b@{DIGEST}", ("quay.io", "a/b", DIGEST)),
        (f"quay.io/a/b:tag@{DIGEST}", ("quay.io", "a/b", DIGEST)),
        ("localhost:5001/app", ("localhost:5001", "app", "")),
        ("localhost:5001/app:2", ("localhost:5001", "app", "2")),
    ],
)
def test_names(text: str, expected: tuple[str, str, str]) -> None:
    name = parse_image(text, SETTINGS.upstreams, SETTINGS.default_upstream)
    assert name == ImageName(*expected)
    assert parse_image(str(name), SETTINGS.upstreams, SETTINGS.default_upstream) == name


BAD = ["", "elsewhere.example/x", "UPPER", "nginx:", "nginx@", "nginx@sha256:short", "a//b", "nginx:a b", "ghcr.io/"]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no image|none of the upstreams|should follow"):
        parse_image(text, SETTINGS.upstreams, SETTINGS.default_upstream)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ("nginx", "", "")),
        ("nginx:1.27", ("nginx", "1.27", "")),
        (f"nginx:1.27@{DIGEST}", ("nginx", "1.27", DIGEST)),
        (f"nginx@{DIGEST}", ("nginx", "", DIGEST)),
        ("localhost:5001/app", ("localhost:5001/app", "", "")),
        (f"localhost:5001/a/b:2@{DIGEST}", ("localhost:5001/a/b", "2", DIGEST)),
        ("", ("", "", "")),
    ],
)
def test_tag_and_digest_are_taken_apart(text: str, expected: tuple[str, str, str]) -> None:
    assert split_image(text) == expected
