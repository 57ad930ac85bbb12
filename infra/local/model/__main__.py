"""``python -m infra.local.model --scripts DIR``: serves until SIGINT or SIGTERM; prints its address as the first line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from infra.core.errors import PullwrightError
from infra.local.model.library import Library, load_library
from infra.local.model.server import ScriptedModel


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s model %(message)s")
    try:
        library = load_library(arguments.scripts)
        key = arguments.key_file.read_text("utf-8").strip() if arguments.key_file else arguments.key
        asyncio.run(_serve(library, key=key, pace=arguments.pace_ms / 1000, port=arguments.port))
    except PullwrightError as error:
        sys.stderr.write(f"{error.message} {error.hint}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"The scripted model cannot start: {error}.\n")
        return 2
    return 0


async def _serve(library: Library, *, key: str, pace: float, port: int) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with ScriptedModel(library, key=key, pace=pace, port=port, log_size=0) as model:
        sys.stdout.write(f"{model.url}\n")
        sys.stdout.flush()
        await stop.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.model", description="The scripted rehearsal model.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--scripts", type=Path, required=True, help="folder of *.toml scripts")
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key", default="", help="key that callers must send; empty accepts everyone")
    key.add_argument("--key-file", type=Path, help="file that holds the key")
    parser.add_argument("--pace-ms", type=float, default=15.0, help="pause before each delta, in milliseconds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
