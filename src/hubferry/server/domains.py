"""Registrable domains by the Public Suffix List, which is read once for all workers."""

from functools import cache

from publicsuffixlist import PublicSuffixList


@cache
def read_public_suffixes() -> PublicSuffixList:
    """Return the list that the package publicsuffixlist brings, always the same object.

    The first call takes 80 milliseconds of CPU. server.run makes it before it forks workers and before anybody is
    answered.
    """
    return PublicSuffixList()


def registrable_domain(host: str) -> str | None:
    """Return the registrable domain of a host, None if it is a suffix itself: a core.redirect.RegistrableDomain."""
    return read_public_suffixes().privatesuffix(host)
