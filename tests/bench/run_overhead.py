"""A whole run through the product, next to the same commands typed by hand; and where the product's time goes."""

import shutil
import subprocess
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from infra.core.run import Limits
from infra.core.tool_policy import ToolPolicy
from runner.agents.claude_code import bundled_program, environment_for
from runner.agents.port import Job
from tests.bench.installation import REPOSITORY, TASK, installation, model_address, one_run
from tests.bench.report import Figure, Report, Table, paired_ratio
from tests.world.stack import program_environment

PAIRS = 6
SCRIPT = Path(__file__).with_name("by_hand.sh")
_LIMITS = Limits(budget_micros=5_000_000, wall_seconds=1500, idle_seconds=600, max_turns=150)
STEPS = ("clone", "agent", "commit", "publish")


def run():
    report = Report(
        title="run overhead",
        compares=(
            "A dispatch call until its answer with the pull request, on a warm `pullwright up` with a model that does not\n"
            "pause, ÷ tests/bench/by_hand.sh on the same forge, model, repository and task: git clone, claude -p, git commit,\n"
            f"git push, curl POST pulls. {PAIRS} pairs in turn after one of each to warm up; the ratio is the median of the pairs'."
        ),
    )
    missing = [name for name in ("bash", "curl") if shutil.which(name) is None]
    if missing:
        report.skipped = f"{', '.join(missing)} not on the PATH"
        return report
    with installation() as up, tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        hand = ByHand(up, Path(folder))
        hand.seconds()
        _timed(up)
        by_hand, by_product = [], []
        for _ in range(PAIRS):
            by_hand.append(hand.seconds())
            by_product.append(_timed(up))
    report.tables += [_totals(by_hand, by_product), _phases(by_hand, by_product)]
    ratio = paired_ratio([sum(run.values()) for run in by_product], [sum(run.values()) for run in by_hand])
    report.figures.append(Figure(name="whole run ÷ by hand", value=ratio, target="≤ 1.15, then 1.05"))
    return report


class ByHand:
    """The shell script, ready to be run again and again, each time on a branch of its own."""

    def __init__(self, up, folder):
        self._folder = folder
        self._count = 0
        url, key = model_address(up)
        token = (up.data / "forge" / "person-token").read_text("ascii").strip()
        self._environment = {
            "CLAUDE": str(bundled_program()),
            "MODEL": "claude-opus-5-5",
            "DENIED": ",".join(sorted(ToolPolicy().denied)),
            "TASK": TASK,
            "REPOSITORY": up.forge.replace("//", f"//x-access-token:{token}@") + f"/{REPOSITORY}.git",
            "PULLS": f"{up.forge}/api/v3/repos/{REPOSITORY}/pulls",
            "TOKEN": token,
        }
        self._model = SimpleNamespace(url=url, token=key)

    def seconds(self):
        """Seconds of each step."""
        self._count += 1
        place = self._folder / str(self._count)
        for name in ("home", "tmp"):
            (place / name).mkdir(parents=True)
        job = Job(
            id=str(self._count),
            prompt=TASK,
            tree=place / "tree",
            home=place / "home",
            tmp=place / "tmp",
            model=self._environment["MODEL"],
            limits=_LIMITS,
            model_access=self._model,
        )
        shell = program_environment()
        environment = {
            **shell,
            **environment_for(
                job, path=shell["PATH"], model_retries=10
            ),  # the agent's switches, as the product sets them
            **self._environment,
            "WORK": str(job.tree),
            "BRANCH": f"by-hand-{self._count}",
        }
        done = subprocess.run(["bash", SCRIPT], env=environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"by_hand.sh failed: {done.stdout}{done.stderr}")
        moments = dict(line.split() for line in done.stdout.splitlines())
        assert tuple(moments) == ("start", *STEPS), done.stdout
        return {step: float(moments[step]) - float(before) for (before, step) in _named(moments)}


def _named(moments):
    return [(moments[one], other) for one, other in pairwise(moments)]


def _timed(up):
    """Seconds of each phase of one run, by the run's own events; they sum up to the time that the caller waited."""
    called = time.time()
    result = one_run(up)
    answered = time.time()
    events = (
        up.http.get(f"/api/runs/{result['run_id']}/events", params={"limit": 500}).raise_for_status().json()["events"]
    )
    run = up.run(result["run_id"])
    phases = {event["data"]["phase"]: _seconds(event["at"]) for event in events if event["type"] == "phase"}
    finished = next(_seconds(e["at"]) for e in events if e["type"] == "marker" and e["data"].get("name") == "finished")
    last_word = max(_seconds(event["at"]) for event in events if _seconds(event["at"]) < phases["publishing"])
    moments = (
        called,
        _seconds(run["started_at"]),
        phases["cloning"],
        phases["working"],
        last_word,
        phases["publishing"],
        finished,
        _seconds(run["finished_at"]),
        answered,
    )
    names = ("dispatch → claim", "claim", "clone", "agent", "collect, save", "publish", "settle", "answer")
    return {name: after - before for name, (before, after) in zip(names, pairwise(moments), strict=True)}


def _seconds(moment):
    return datetime.fromisoformat(moment).timestamp()


def _totals(by_hand, by_product):
    rows = []
    for name, runs in (("by hand", by_hand), ("product", by_product)):
        totals = [sum(steps.values()) for steps in runs]
        rows.append((name, *(f"{value:.2f}" for value in (median(totals), min(totals), max(totals)))))
    ratios = [sum(ours.values()) / sum(theirs.values()) for ours, theirs in zip(by_product, by_hand, strict=True)]
    rows.append(("ratio", *(f"{value:.2f}" for value in (median(ratios), min(ratios), max(ratios)))))
    return Table(columns=("seconds", "median", "least", "most"), rows=rows)


_COUNTERPARTS = {"clone": "clone", "agent": "agent", "collect, save": "commit", "publish": "publish"}


def _phases(by_hand, by_product):
    """Medians, phase by phase, each beside the step by hand that does the same."""
    rows, more = [], 0.0
    for phase in by_product[0]:
        ours = median(run[phase] for run in by_product)
        step = _COUNTERPARTS.get(phase)
        theirs = median(run[step] for run in by_hand) if step else 0.0
        more += ours - theirs
        rows.append(
            (phase, f"{ours * 1000:,.0f}", f"{theirs * 1000:,.0f}" if step else "", f"{(ours - theirs) * 1000:+,.0f}")
        )
    rows.append(("all", "", "", f"{more * 1000:+,.0f}"))
    return Table(columns=("milliseconds", "product", "by hand", "more"), rows=rows)
