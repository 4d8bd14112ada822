"""A process that fills one blob of a shared folder and reads it; started by test_processes.

Arguments: folder, size of the blob, offset after which its upstream hangs (-1: never), folder for its marks. It writes
`fetched` (offsets of its fetches) and prints `read N` as it reads, then `whole` or `cut`.
"""

import asyncio
import sys
from pathlib import Path

from hubferry.ports.upstream import UpstreamFailure
from tests.fill.fakes import Stage, Upstream, content, digest_of


async def main(folder: Path, size: int, hang_at: int) -> None:
    data = content(size)
    never = asyncio.Event()

    async def gate(given: int) -> None:
        await asyncio.sleep(0.001)  # several processes are to meet while one fills
        if 0 <= hang_at <= given:
            print(f"hanging after {upstream.offsets}", flush=True)
            await never.wait()

    upstream = Upstream(data, gate=gate)
    stage = Stage(folder)
    body = await stage.open(digest_of(data), upstream)
    got = b""
    try:
        while (piece := await body.read()) is not None:
            got += piece
            print(f"read {len(got)}", flush=True)
    except UpstreamFailure as failure:
        print(f"cut {failure}", flush=True)
    print(f"fetched {upstream.offsets}", flush=True)
    print("whole" if got == data else f"only {len(got)}", flush=True)
    await body.close()
    await stage.fills.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
