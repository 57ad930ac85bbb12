"""The story of one run, top to bottom; the same on Cloud Run's service, in a job and on a laptop.

    claim → clone → agent → collect → inspect → save → publish → settle

Each phase is told to the gateway before it begins, and what it produced is saved before the next: a runner that dies
anywhere is followed by one that goes on from there, and a paid agent phase whose result was saved is never repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.core.changes import Changes
from infra.core.diff_policy import DiffPolicy
from infra.core.errors import Invalid, NotFound, PullwrightError
from infra.core.forge import NewPullRequest
from infra.core.ids import RunId, parse_run_id
from infra.core.publish_policy import CommitMode
from infra.core.run import Checkpoint, Delivered, Ended, Fenced, Held, Phase, Reason, State, Usage
from infra.core.secret_scan import Scanner
from infra.core.timeline import EventType
from infra.core.words import PullFacts, commit_message, pull_body, pull_title
from infra.wire import (
    Assignment,
    Claimed,
    ClaimRequest,
    GitCredentials,
    ModelCredentials,
    ProcessIssue,
    Release,
    Settlement,
)
from runner.agents.port import Result
from runner.api_commit import ApiPush
from runner.attachments import lay_out
from runner.clone import clone, fetch_base
from runner.collect import Identity, collect, commit, read_changes
from runner.desk import Desk
from runner.ending import CANCELLED, Ending, Unfinished, agent_failed, failed, out_of_time, unforeseen
from runner.gateway import Away, Gateway
from runner.git import Remote, parse_remote
from runner.inspection import PATCH, Inspector
from runner.lease import Lease
from runner.partial import PartialWork
from runner.publish import Published, Work, publish, published
from runner.pull_template import pull_template
from runner.questions import Questions
from runner.run_log import RUN_LOG, RunLog
from runner.saved_work import bundle, restore
from runner.shielded import to_the_end
from runner.stream import Stream
from runner.takeup import take_up
from runner.upload import upload
from runner.wiring import Tools
from runner.working import Working
from runner.workspace import Workspace, workspace

SAVED_WORK = "work.bundle"

_HAND_BACK_SECONDS = 4.0
_LOG_SECONDS = 20.0

_log = logging.getLogger("runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The agent's work as a commit in the supervisor's repository, ready to be published.

    ``resumed``: an earlier attempt saved it, and may have published it before it was lost.
    """

    head_sha: str
    summary: str
    changes: Changes
    resumed: bool = False


async def execute(job: ProcessIssue, tools: Tools) -> Ending:
    """Works on the run if it is there to be worked on. Cancelling it stops the agent and hands the run to the next runner."""
    async with tools.gateway(job) as gateway:
        request = ClaimRequest(holder=tools.new_holder(), host=tools.host, version=tools.version)
        try:
            claimed = await gateway.claim(request)
        except (Ended, Held, Fenced) as nothing:
            return Ending(run_id=job.run_id, state=None, message=nothing.message)
        return await Attempt(claimed=claimed, gateway=gateway, tools=tools).run()


@dataclass(slots=True)
class Attempt:
    """One lease of one run."""

    claimed: Claimed
    gateway: Gateway
    tools: Tools
    _lease: Lease = field(init=False)
    _working: Working = field(init=False)
    _stream: Stream = field(init=False)
    _inspector: Inspector = field(init=False)
    _log: RunLog = field(init=False)
    _started: int = 0

    @property
    def spent(self) -> Usage:
        """What this attempt has used so far, as the broker counted it."""
        return self._working.spent

    @property
    def assignment(self) -> Assignment:
        return self.claimed.assignment

    @property
    def run_id(self) -> RunId:
        return parse_run_id(self.assignment.run_id)

    async def run(self) -> Ending:
        with self.tools.run_log(self.run_id, self.claimed.fence) as self._log:
            return await self._run()

    async def _run(self) -> Ending:
        self._started = self.tools.clock()
        self._lease = Lease(
            claimed=self.claimed,
            gateway=self.gateway,
            spent=lambda: self.spent,
            checkpoint=self.claimed.checkpoint,
        )
        self._stream = self.tools.stream(self.gateway, self.claimed)
        self._stream.listeners = (self._log.note, *self.tools.viewers)
        scanner = Scanner(self._stream.redactor.without_patterns())
        self._inspector = Inspector(git=self.tools.git, policy=DiffPolicy(), scanner=scanner)
        self._hide(self.gateway.token)
        self._stream.start()
        if self.claimed.next_sequence == 1:  # else an earlier attempt has said it
            for told in self.assignment.notices:
                await self._stream.emit(EventType.INFO, {"message": told, "code": "hidden_text_removed"})
            for told in self.assignment.project.warnings:
                await self._stream.emit(EventType.INFO, {"message": told, "code": "project_file"})
        desk = self._desk()
        self._working = Working(
            claimed=self.claimed,
            gateway=self.gateway,
            tools=self.tools,
            stream=self._stream,
            desk=desk,
            lease=self._lease,
            credentials=self._model_credentials,
        )
        work = asyncio.create_task(self._outcome(), name=f"work {self.run_id}")
        desk.stop = lambda: self._lease.stop(work)
        talk = asyncio.create_task(desk.serve(), name=f"desk {self.run_id}")
        heart = asyncio.create_task(self._lease.keep_while(work), name=f"heartbeat {self.run_id}")
        try:
            async with self.tools.side_door(self.run_id, self._stream.emit):
                settlement = await self._finished(work)
            if self._lease.lost:
                return Ending(run_id=self.run_id, state=None, message=self._lease.lost.message)
            return await self._settle(settlement)
        finally:
            for task in (talk, heart):
                task.cancel()
            await asyncio.gather(talk, heart, return_exceptions=True)

    def _desk(self) -> Desk:
        questions = Questions(
            sink=self._stream.emit, entropy=self.tools.entropy, wait_seconds=self.tools.question_seconds
        )
        return Desk(gateway=self.gateway, sink=self._stream.emit, questions=questions)

    async def _finished(self, work: asyncio.Task[Settlement]) -> Settlement:
        """What the work came to, also when it was stopped on request. Being cancelled from outside stops it in a hurry, hands
        the run back, and is passed on; where a person sits at the machine, it is that person who stops the run."""
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            if self.tools.attended:
                self._lease.stop(work)
                await asyncio.wait({work})
                return self._settled(work)
            self._working.hurry.set()
            work.cancel()
            await to_the_end(self._hand_back(work))
            raise
        return self._settled(work)

    def _settled(self, work: asyncio.Task[Settlement]) -> Settlement:
        return self._settlement(State.CANCELLED, CANCELLED) if work.cancelled() else work.result()

    async def _hand_back(self, work: asyncio.Task[Settlement]) -> None:
        """The next attempt may start at once; without this it would wait until the lease runs out."""
        await asyncio.wait({work})
        if self._lease.lost or (self._lease.phase is Phase.PUBLISHING and not work.cancelled()):
            return
        await self._stream.emit(
            EventType.INFO, {"message": "This runner must stop; another goes on.", "code": "released"}
        )
        back = Release(fence=self.claimed.fence, checkpoint=self._lease.checkpoint, spent=self.spent)
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await self._deliver_rest()
                await self.gateway.release(back)
        except (PullwrightError, TimeoutError) as error:
            _log.warning("not handed back: %s", error, extra={"run_id": self.run_id})

    async def _settle(self, settlement: Settlement) -> Ending:
        if settlement.reason and settlement.state is not State.NO_CHANGES:
            reason = settlement.reason
            await self._stream.emit(
                EventType.ERROR, {"message": reason.message, "code": reason.code, "hint": reason.hint}
            )
        await self._keep_evidence()
        code = self._exit_code(settlement.state)
        await self._stream.emit(EventType.MARKER, {"name": "finished", "state": settlement.state, "exitCode": code})
        await self._keep_log()
        try:
            await self._deliver_rest()
            settled = await self.gateway.settle(settlement)
        except (Ended, Fenced) as error:
            return Ending(run_id=self.run_id, state=None, message=error.message)
        return Ending(
            run_id=self.run_id,
            state=settled.state,
            message=settlement.reason.message if settlement.reason else "",
            exit_code=self._working.exit_code,
        )

    def _exit_code(self, state: State) -> int:
        """The command's own where the agent is one; else 0 for an end without fault."""
        if self._working.exit_code is not None:
            return self._working.exit_code
        return 0 if state in {State.SUCCEEDED, State.NO_CHANGES} else 1

    async def _keep_log(self) -> None:
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                await upload(self.gateway, self._log.path, name=RUN_LOG, fence=self.claimed.fence)
        except (PullwrightError, TimeoutError) as error:
            _log.warning("log not kept: %s", error, extra={"run_id": self.run_id})

    async def _keep_evidence(self) -> None:
        if self._working.evidence is not None:
            await self._working.evidence.keep()

    async def _deliver_rest(self) -> None:
        """The last events. A batch that is refused must not keep the run from ending."""
        try:
            await self._stream.close()
        except (Ended, Fenced):
            raise
        except PullwrightError as error:
            _log.error("events lost: %s", error.message, extra={"run_id": self.run_id})

    async def _outcome(self) -> Settlement:
        """What the run came to; every foreseeable failure is an outcome."""
        try:
            async with asyncio.timeout(self.assignment.limits.wall_seconds):
                return await self._work()
        except Unfinished as end:
            return self._settlement(end.state, end.reason)
        except TimeoutError:
            return self._settlement(State.TIMED_OUT, out_of_time(self.assignment.limits.wall_seconds))
        except (Ended, Fenced, Away) as error:
            self._lease.lost = error
            return self._settlement(State.FAILED, None)
        except PullwrightError as error:
            return self._settlement(State.FAILED, failed(error))
        except Exception as error:  # noqa: BLE001 – whatever it is, the run must end with a reason
            _log.exception("unexpected error", extra={"run_id": self.run_id})
            return self._settlement(State.FAILED, unforeseen(error))

    async def _work(self) -> Settlement:
        async with workspace(self.tools.work_dir, self.run_id) as place:
            saved = await (self._on_own_tree(place) if self.tools.own_tree else self._resumed(place))
            if saved is None:
                await self._clone(place)
                saved = await self._save(place, await self._stoppable(place))
            published = await self._publish(place, saved)
        delivered = Delivered(
            number=published.pull.number,
            url=published.pull.url,
            branch=published.pull.head_branch,
            head_sha=published.head_sha,
            files_changed=saved.changes.files_changed,
            lines_added=saved.changes.lines_added,
            lines_removed=saved.changes.lines_removed,
        )
        return self._settlement(State.SUCCEEDED, None, delivered)

    async def _on_own_tree(self, place: Workspace) -> Saved:
        """The agent in a person's folder. What it did stays there; only where the person wants it, it is published too."""
        assert self.tools.own_tree is not None
        own = replace(place, tree=self.tools.own_tree, own_tree=True)
        result = await self._agent(own)
        if not self.tools.push:
            hint = "Look at it with git diff; with --push it would have become a pull request."
            message = f"The agent is done. What it changed is in {own.tree}; nothing was published."
            raise Unfinished(State.NO_CHANGES, Reason(code="kept_local", message=message, hint=hint))
        snapshot = await self._working.snapshot()
        file = place.out / SAVED_WORK
        await asyncio.to_thread(file.write_bytes, snapshot.work)
        saved = await self._restored(place, file, result.summary)
        if saved is None:
            raise Unfinished(State.NO_CHANGES, Reason(code="no_changes", message="The agent changed nothing."))
        return saved

    async def _restored(self, place: Workspace, file: Path, summary: str) -> Saved | None:
        """Saved work in a fresh repository, looked at; None when it changes nothing. Raises ``Invalid`` for what is broken."""
        base_sha = self.assignment.base_sha
        await fetch_base(self.tools.git, place, await self._source(), base_sha=base_sha)
        head = await restore(self.tools.git, place, file, base_sha=base_sha, run_id=self.run_id)
        changes = await read_changes(self.tools.git, place, base_sha=base_sha, tree_sha=head)
        if changes is None:
            return None
        await self._inspect(place, changes)
        return Saved(head_sha=head, summary=summary, changes=changes)

    async def _resumed(self, place: Workspace) -> Saved | None:
        """The work that an earlier attempt saved; None when there is none and the agent must work."""
        before = self.claimed.checkpoint
        if before is None or before.phase is not Phase.PUBLISHING or not before.result:
            return None
        await self._enter(Phase.CLONING, "an earlier attempt saved the agent's work; taking it up")
        file = place.out / SAVED_WORK
        try:
            content = await self.gateway.artifact(before.result)
            await asyncio.to_thread(file.write_bytes, content)
            saved = await self._restored(place, file, before.summary)
        except (NotFound, Invalid) as error:
            await self._stream.emit(
                EventType.INFO, {"message": f"The saved work cannot be used ({error.message}); starting over."}
            )
            return None
        return replace(saved, resumed=True) if saved else None

    async def _clone(self, place: Workspace) -> None:
        await self._enter(
            Phase.CLONING, f"{self.assignment.owner}/{self.assignment.repo} at {self.assignment.base_sha[:12]}"
        )
        remote = await self._source()
        await clone(self.tools.git, place, remote, base_sha=self.assignment.base_sha, branch=self.assignment.branch)

    async def _stoppable(self, place: Workspace) -> Result:
        """The agent's work; when it does not come to its end, what there is of it is kept for people."""
        try:
            return await self._agent(place)
        except (asyncio.CancelledError, Unfinished):
            if self._working.begun and not self._working.hurry.is_set() and not self._lease.lost:
                await to_the_end(self._partial().keep(place))
            raise

    def _partial(self) -> PartialWork:
        return PartialWork(claimed=self.claimed, gateway=self.gateway, tools=self.tools, clean=self._redacted)

    async def _agent(self, place: Workspace) -> Result:
        """Runs the agent to its end. Raises ``Unfinished`` when it could not do its work."""
        await self._enter(Phase.WORKING, f"{self.tools.agent.type} with {self.assignment.model}")
        for missing in await lay_out(self.assignment.attachments, place.home, self.gateway):
            await self._stream.emit(EventType.INFO, {"message": missing})
        resumed = await take_up(self.tools.git, self.gateway, self._stream.emit, self.claimed, place)
        result = await self._working.run(place, resumed)
        if result.failure is None:
            return result
        raise agent_failed(result, self._redacted)

    async def _save(self, place: Workspace, result: Result) -> Saved:
        """The agent's files as a commit, kept outside this machine before anything is published."""
        changes = await collect(self.tools.git, place, base_sha=self.assignment.base_sha)
        if self._working.evidence is not None:
            self._working.evidence.collected(changes)
        if changes is None:
            message = "The agent changed nothing."
            raise Unfinished(
                State.NO_CHANGES, Reason(code="no_changes", message=message, hint=self._redacted(result.summary)[:500])
            )
        await self._inspect(place, changes)
        identity = Identity(name=self.assignment.author_name, email=self.assignment.author_email)
        message = commit_message(self._redacted(self.assignment.title), self.run_id, self.assignment.co_author)
        self._check_words({"the branch": self.assignment.branch, "the commit message": message})
        head = await commit(
            self.tools.git,
            place,
            changes,
            message=message,
            identity=identity,
            now=self.tools.clock(),
        )
        file = await bundle(self.tools.git, place, head=head, base_sha=self.assignment.base_sha)
        summary = self._redacted(result.summary)
        content = await asyncio.to_thread(file.read_bytes)
        await asyncio.gather(self.gateway.send_artifact(SAVED_WORK, self.claimed.fence, content), self._keep_evidence())
        self._lease.checkpoint = Checkpoint(
            phase=Phase.PUBLISHING,
            base_sha=self.assignment.base_sha,
            head_sha=head,
            session_id=result.session_id,
            result=SAVED_WORK,
            summary=summary[:20_000],
        )
        return Saved(head_sha=head, summary=summary, changes=changes)

    async def _publish(self, place: Workspace, saved: Saved) -> Published:
        await self._enter(Phase.PUBLISHING, f"{saved.changes.files_changed} files")
        if self._lease.cancelled and not saved.resumed:
            raise asyncio.CancelledError
        credentials = await self._credentials("publish")
        remote = parse_remote(self.assignment.git_url, credentials.token)
        work = Work(
            run_id=self.run_id,
            base_sha=self.assignment.base_sha,
            head_sha=saved.head_sha,
            branch=self.assignment.branch,
            identity=Identity(name=self.assignment.author_name, email=self.assignment.author_email),
            pull=self.assignment.pull,
        )
        new = await self._new_pull(place, saved)
        self._check_words({"the title": new.title, "the description": new.body, "the branch": work.branch})
        async with self.tools.repository(self.assignment, credentials) as forge:
            if self._lease.cancelled and not await published(forge, work):
                raise asyncio.CancelledError
            by_api = self.assignment.commit_mode is CommitMode.API
            put = ApiPush(self.tools.git, place, forge, work.branch, work.base_sha) if by_api else None
            return await publish(self.tools.git, place, remote, forge, work, new=new, put=put)

    async def _new_pull(self, place: Workspace, saved: Saved) -> NewPullRequest:
        facts = PullFacts(
            run_id=self.run_id,
            run_url=self.assignment.run_url,
            summary=saved.summary,
            changes=saved.changes,
            model=self.assignment.model,
            usage=self.spent,
            seconds=(self.tools.clock() - self._started) / 1000,
            requested_by=self.assignment.requested_by,
            closes=self.assignment.closes,
            rehearsal=self.assignment.rehearsal,
            notices=self.assignment.notices,
            template=await pull_template(self.tools.git, place, self.assignment.base_sha),
        )
        return NewPullRequest(
            title=pull_title(self._redacted(self.assignment.title)),
            body=pull_body(facts),
            head_branch=self.assignment.branch,
            base_branch=self.assignment.ref,
            draft=self.assignment.draft,
        )

    async def _inspect(self, place: Workspace, changes: Changes) -> None:
        """Ends the run as blocked unless the change may leave this machine; then it is kept as a patch, for people."""
        stopped = await self._inspector.change(place, changes)
        if stopped is None:
            return
        if stopped.patch:
            patch = await asyncio.to_thread(stopped.masked_patch, self._redacted)
            await self.gateway.send_artifact(PATCH, self.claimed.fence, patch)
        raise Unfinished(State.BLOCKED, stopped.told(self._redacted))

    def _check_words(self, texts: Mapping[str, str]) -> None:
        """Masked texts are looked at once more as they will be published: cleaning may have put a secret together."""
        reason = self._inspector.texts(texts)
        if reason is not None:
            raise Unfinished(State.BLOCKED, reason)

    def _hide(self, value: str) -> None:
        """From now on ``value`` is masked in everything that is told, and keeps a change that holds it from being published."""
        self._stream.redactor.register(value)

    async def _credentials(self, kind: str) -> GitCredentials:
        credentials = await self.gateway.git_credentials(self.claimed.fence, kind)
        self._hide(credentials.token)
        return credentials

    async def _model_credentials(self) -> ModelCredentials:
        credentials = await self.gateway.model_credentials(self.claimed.fence)
        for name in ("authorization", "x-api-key"):
            if value := credentials.headers.get(name, ""):
                self._hide(value.removeprefix("Bearer "))
        return credentials

    async def _source(self) -> Remote:
        return parse_remote(self.assignment.git_url, (await self._credentials("clone")).token)

    async def _enter(self, phase: Phase, detail: str) -> None:
        self._lease.phase = phase
        await self._stream.emit(EventType.PHASE, {"phase": phase, "detail": detail})
        await self._lease.beat()

    def _settlement(self, state: State, reason: Reason | None, delivered: Delivered | None = None) -> Settlement:
        return Settlement(
            fence=self.claimed.fence,
            state=state,
            usage=self.spent,
            reason=reason,
            delivered=delivered,
            discrepancy=self._working.evidence.discrepancy if self._working.evidence else None,
        )

    def _redacted(self, text: str) -> str:
        return self._stream.redactor.text(text)
