"""``python -m tests.bench``: every bench in turn, as tables, and a summary at the end.

Ratios of things measured next to each other in one run, because machines differ and are busy. Nothing depends on how fast
something was; the exit status is 1 only when something did not work.
"""

import argparse
import importlib
import json
import sys
import time
import traceback

from tests.bench.report import Report, summary

BENCHES = ("run_overhead", "door", "start", "memory", "store", "broker", "live")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}; all when none is named")
    parser.add_argument("--json", action="store_true", help="the same as one JSON object on standard output")
    arguments = parser.parse_args()
    unknown = set(arguments.benches) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    started = time.monotonic()
    told = sys.stderr if arguments.json else sys.stdout
    reports = []
    for name in arguments.benches or BENCHES:
        reports.append(_report(name))
        print(*reports[-1].lines(), sep="\n", file=told, flush=True)
    print(*summary(reports).lines(), sep="\n", file=told)
    print(f"\ntook {time.monotonic() - started:.0f} s", file=told)
    if arguments.json:
        whole = {"reports": [report.builtins() for report in reports]}
        sys.stdout.write(json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
    return 1 if any(report.problems for report in reports) else 0


def _report(name):
    """One bench that breaks off must not hide what the others have to say."""
    try:
        return importlib.import_module(f"tests.bench.{name}").run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told and makes the exit status 1
        traceback.print_exc()
        return Report(title=name, compares="It broke off.", problems=[f"{type(error).__name__}: {error}"])


if __name__ == "__main__":
    sys.exit(main())
