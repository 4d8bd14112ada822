"""The target `parsers`: the first byte of an input says which parser gets the rest."""

from tests.fuzz.limits import in_time
from tests.properties.foreign import DOCUMENTS, FRAMING, TEXTS
from tests.properties.growth import repeated
from tests.properties.test_growth import FRAMES, SHAPES

__all__ = ["run", "seeds"]

_PARSERS = (*DOCUMENTS.values(), *FRAMING.values(), *TEXTS.values())
_OF_BYTES = len(DOCUMENTS) + len(FRAMING)


def run(data: bytes) -> None:
    """Parse one input. Raises what no caller of a parser expects."""
    if not data:
        return
    number, rest = data[0] % len(_PARSERS), data[1:]
    with in_time():
        # as the shells decode what is on the wire; a quarter of the inputs has what only JSON strings can hold
        text = rest.decode("utf-8", "surrogateescape") if data[0] >= 192 else rest.decode("latin-1")
        _PARSERS[number](rest if number < _OF_BYTES else text)


def seeds() -> list[bytes]:
    """Inputs to begin with: something of every kind for each parser."""
    found = []
    for number, parser in enumerate(_PARSERS):
        if number < len(DOCUMENTS):
            for beginning, unit, end in SHAPES.values():
                found.append(bytes([number]) + repeated(beginning, unit, end, 200).encode("utf-8", "replace"))
        elif number < _OF_BYTES:
            found += [bytes([number]) + repeated(*shape, 200) for shape in FRAMES.values()]
        else:
            found += [bytes([number]) + beginning.encode() + b"a" for beginning in parser.beginnings]
    return found
