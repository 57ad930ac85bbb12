"""``python -m infra.local.forge --data DIR [--port P] [--seed FILE]``: the forge as a process of its own.

Prints one JSON line when it is ready – ``url``, ``api_url``, ``admin_token_file``, ``seeded`` – and runs until SIGINT or
SIGTERM. ``--seed -`` reads the document from standard input, so that its webhook secret touches no file.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from infra.core.clock import SECOND
from infra.local.forge import seed
from infra.local.forge.forge import Forge


def main() -> int:
    try:
        asyncio.run(_run(_options()))
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"The local forge did not start: {error}\n")
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.forge", description="A local stand-in for GitHub.")
    parser.add_argument("--data", type=Path, required=True, help="folder for repositories and state")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; a free one by default")
    parser.add_argument("--seed", default="", help="JSON document to apply at the start; - reads standard input")
    parser.add_argument("--token-ttl", type=int, default=3600, help="life of installation tokens, in seconds")
    parser.add_argument(
        "--rate-limit", type=int, default=5000, help="REST requests an hour, as on GitHub; a bench needs more"
    )
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    forge = Forge(options.data, token_ttl=options.token_ttl * SECOND)
    forge.limits.limit = options.rate_limit
    try:
        await forge.start(options.port)
        seeded = await seed.apply(forge, seed.parse(_read(options.seed))) if options.seed else {}
        ready = {
            "url": forge.url,
            "api_url": forge.api_url,
            "admin_token_file": str(forge.admin_token_file),
            "seeded": seeded,
        }
        sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await forge.close()


def _read(source: str) -> bytes:
    return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()


if __name__ == "__main__":
    raise SystemExit(main())
