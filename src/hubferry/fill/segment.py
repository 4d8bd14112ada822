"""One range of a blob that one connection fetches. Pure."""

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Segment:
    """A range of a blob that is being fetched: bytes [start, at) have come, bytes [at, end) are still to come."""

    start: int
    end: int
    at: int = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.start

    @property
    def left_bytes(self) -> int:
        """How many bytes are still to come."""
        return self.end - self.at
