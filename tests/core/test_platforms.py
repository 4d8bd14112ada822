"""Case tables of core.platforms: one spelling for each platform, and what a machine of one pulls."""

import pytest

from hubferry.core.descriptors import Descriptor
from hubferry.core.platforms import Platform, choose, normal_platform, parse_platform, parse_platforms, preferred

SPELT = {
    "linux/amd64": "linux/amd64",
    "Linux/x86_64": "linux/amd64",
    "linux/arm64": "linux/arm64",
    "linux/arm64/v8": "linux/arm64",
    "linux/aarch64": "linux/arm64",
    "linux/arm": "linux/arm",
    "linux/arm/v7": "linux/arm",
    "linux/arm/7": "linux/arm",
    "linux/arm/v6": "linux/arm/v6",
    "linux/armel": "linux/arm/v6",
    "linux/i386": "linux/386",
    "linux/amd64/v3": "linux/amd64/v3",
    "windows/amd64": "windows/amd64",
}


@pytest.mark.parametrize(("text", "expected"), SPELT.items())
def test_one_spelling(text: str, expected: str) -> None:
    assert str(parse_platform(text)) == expected


@pytest.mark.parametrize("text", ["", "amd64", "linux/", "/amd64", "linux/amd64/v1/x", "linux/am d64", "linux,amd64"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(ValueError, match="is no platform: write"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), ["linux/arm64"]),
        (("linux/amd64", "linux/arm64/v8", "linux/x86_64"), ["linux/amd64", "linux/arm64"]),
        (("all",), None),
    ],
)
def test_what_is_wanted(texts: tuple[str, ...], expected: list[str] | None) -> None:
    wanted = parse_platforms(texts, "aarch64")
    assert (None if wanted is None else [str(platform) for platform in wanted]) == expected


def test_all_and_one_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="all and linux/amd64 at once"):
        parse_platforms(("all", "linux/amd64"), "x86_64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm", ["linux/arm", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/riscv64", ["linux/riscv64"]),
    ],
)
def test_what_a_machine_runs(text: str, expected: list[str]) -> None:
    assert [str(platform) for platform in preferred(parse_platform(text))] == expected


def entry(name: str, platform: str | None, *, is_attestation: bool = False) -> Descriptor:
    return Descriptor(name, platform=parse_platform(platform) if platform else None, is_attestation=is_attestation)


COMMON = [
    entry("amd64", "linux/amd64"),
    entry("arm64", "linux/arm64/v8"),
    entry("armv7", "linux/arm/v7"),
    entry("armv6", "linux/arm/v6"),
    entry("about amd64", "unknown/unknown", is_attestation=True),
]
CHOSEN: dict[str, tuple[list[Descriptor], list[str] | None, list[str], list[str]]] = {
    # name: entries, wanted, chosen, missing
    "one": (COMMON, ["linux/amd64"], ["amd64"], []),
    "two": (COMMON, ["linux/arm64", "linux/amd64"], ["arm64", "amd64"], []),
    "all but what is about others": (COMMON, None, ["amd64", "arm64", "armv7", "armv6"], []),
    "an exact variant": (COMMON, ["linux/arm/v6"], ["armv6"], []),
    "an older variant": (COMMON[:1] + COMMON[3:], ["linux/arm/v7"], ["armv6"], []),
    "another width": (COMMON[2:], ["linux/arm64"], ["armv7"], []),
    "never a newer one": (COMMON[:3], ["linux/arm/v6"], [], ["linux/arm/v6"]),
    "one of two": (COMMON, ["linux/s390x", "linux/amd64"], ["amd64"], ["linux/s390x"]),
    "one entry for two": (COMMON[2:], ["linux/arm64", "linux/arm"], ["armv7"], []),
    "the first of the same": ([entry("a", "linux/amd64"), entry("b", "linux/amd64")], ["linux/amd64"], ["a"], []),
    "every Windows": (
        [entry("1809", "windows/amd64"), entry("ltsc2022", "windows/amd64")],
        ["windows/amd64"],
        ["1809", "ltsc2022"],
        [],
    ),
    "who does not say is for anybody": ([entry("x", None), COMMON[1]], ["linux/amd64"], ["x"], []),
}


@pytest.mark.parametrize(("entries", "wanted", "chosen", "missing"), CHOSEN.values(), ids=CHOSEN.keys())
def test_which_entries_are_pulled(
    entries: list[Descriptor], wanted: list[str] | None, chosen: list[str], missing: list[str]
) -> None:
    found, absent = choose(entries, None if wanted is None else [parse_platform(text) for text in wanted])
    assert [one.digest for one in found] == chosen
    assert [str(platform) for platform in absent] == missing


def test_a_machine_that_nobody_knows_has_a_platform_too() -> None:
    assert normal_platform("linux", "m68k") == Platform("linux", "m68k")
