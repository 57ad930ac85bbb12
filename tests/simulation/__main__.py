# ruff: noqa: T201 - a program that talks to a person at a terminal
"""``python -m tests.simulation 4711`` tells the story of a seed; ``python -m tests.simulation 0 2000`` runs a range of them."""

import sys
import time
from collections import Counter

from infra.core.run import TERMINAL, State
from tests.simulation.world import simulate


def main():
    numbers = [int(text) for text in sys.argv[1:]] or [0, 200]
    if len(numbers) == 1:
        return tell(numbers[0])
    started, ends, bad, unknown = time.monotonic(), Counter(), [], set()
    for seed in range(*numbers):
        story = simulate(seed)
        ends.update(
            f"{entry.facts['state']} {entry.facts['reason'] or ''}".strip()
            for entry in story.journal.of("run")
            if State(entry.facts["state"]) in TERMINAL
        )
        unknown |= story.unknown
        if story.violations:
            bad.append(seed)
            print(f"seed {seed}: {'; '.join(story.violations)}", flush=True)
    seconds = time.monotonic() - started
    print(
        f"{len(range(*numbers))} seeds, {sum(ends.values())} runs, {len(bad)} violated, {seconds:.1f} s: {dict(ends)}"
    )
    if unknown:
        print("unknown to the simulated GitHub:", *sorted(unknown))
    return 1 if bad else 0


def tell(seed):
    story = simulate(seed)
    print(story.journal.story())
    print(*story.violations or ("every invariant held",), sep="\n")
    print(story.hash)
    return 1 if story.violations else 0


if __name__ == "__main__":
    sys.exit(main())
