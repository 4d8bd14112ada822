"""Judge what was seen of a machine and of its budget: the clock, the room on a disk, the pulls that are left. Pure."""

from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from statistics import median

from hubferry.core.finding import Finding
from hubferry.core.http import Headers, get
from hubferry.core.quota import MAX_DATE, SCARCE_SHARE, parse_quota, retry_after_s

NOTICED_S = 60.0
TOO_MUCH_S = 300.0  # tokens live for as long (distribution token specification: at least 60 s)


def skew_s(headers: Headers, now: float) -> float | None:
    """Return by how many seconds `now` is ahead of an answer's Date; None when it has none that can be read."""
    said = get(headers, "date") or ""
    try:
        parsed = parsedate_tz(said) if len(said) <= MAX_DATE else None
        return None if parsed is None else now - mktime_tz(parsed)
    except (ValueError, TypeError, IndexError, OverflowError):  # as in quota.py
        return None


def judge_clock(skews: Mapping[str, float]) -> Finding:
    """Judge this machine's clock by the Dates of others: by how many seconds it is ahead of each host.

    The median counts, so that one server whose clock is wrong says nothing about this machine.
    """
    if not skews:
        return Finding("clock", "skipped", "nobody answered with a Date to compare with")
    ahead_s = median(skews.values())
    hosts = f"{len(skews)} hosts" if len(skews) > 1 else next(iter(skews))
    direction = "ahead of" if ahead_s > 0 else "behind"
    if abs(ahead_s) <= NOTICED_S:
        return Finding("clock", "ok", f"it agrees with {hosts}")
    problem = f"this machine's clock is {_length(abs(ahead_s))} {direction} {hosts}"
    if abs(ahead_s) <= TOO_MUCH_S:
        return Finding("clock", "warning", problem, "let it follow a time server: timedatectl set-ntp true")
    remedy = "set it, and let it follow a time server (timedatectl set-ntp true): certificates and tokens depend on it"
    return Finding("clock", "failed", problem, remedy)


def judge_room(folder: str, free_bytes: int, min_free_bytes: int, shown: tuple[str, str]) -> Finding:
    """Judge the free space of a cache folder that can be written. `shown` are both sizes as people read them."""
    free, least = shown
    if free_bytes < min_free_bytes:
        problem = f"{folder} has {free} free, and {least} are to stay free: what is kept is removed, nothing is added"
        return Finding("cache folder", "failed", problem, "make room on that disk, or lower min_free in [cache]")
    return Finding("cache folder", "ok", f"{folder} can be written, and has {free} free")


def judge_quota(name: str, status: int, headers: Headers, now: float, *, has_account: bool) -> Finding:
    """Judge how many pulls an upstream says are left, by its answer to the HEAD of a manifest, which costs none."""
    more = "warm what is needed (hubferry warm)" if has_account else "set username and password_file of an account"
    quota = parse_quota(headers)
    if status == 429 or (quota is not None and not quota.remaining):
        wait_s = retry_after_s(headers, now)
        until = _length(wait_s) if wait_s is not None else _length(quota.window_s) if quota is not None else "some time"
        return Finding(name, "failed", f"no pull is left; some are again within {until}", f"wait, or {more}")
    if quota is None:
        return Finding(name, "ok", "no limit of pulls is stated")
    text = f"{quota.remaining} of {quota.limit} pulls are left; all are again within {_length(quota.window_s)}"
    if quota.left(0) < SCARCE_SHARE:
        return Finding(name, "warning", text, more)
    return Finding(name, "ok", text)


def _length(seconds: float) -> str:
    """Return a time in its largest unit, rounded: `6 h`."""
    for unit, length_s in (("days", 2 * 86400), ("h", 2 * 3600), ("min", 120)):
        if seconds >= length_s:
            return f"{round(seconds / {'days': 86400, 'h': 3600, 'min': 60}[unit])} {unit}"
    return f"{round(seconds)} s"
