"""How the server process is prepared."""

import gc

from hubferry.server.run import collect_only_what_comes


def test_garbage_is_collected_but_not_among_what_was_there_before() -> None:
    gc.disable()
    try:
        collect_only_what_comes()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.enable()
