"""Sizes and times as people read them. Pure."""


def human_size(size_bytes: float) -> str:
    """Format a number of bytes: `1536` -> `1.5KiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}TiB"


def human_time(seconds: float) -> str:
    """Format a number of seconds: `75` -> `1m15s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def short_digest(digest: str) -> str:
    """Shorten a digest to its algorithm and 12 hexadecimal digits."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm}:{encoded[:12]}"
