"""One conversation with one Claude Code process: its messages, its tool calls, its end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from infra.core.clock import Clock
from infra.core.run import Usage
from infra.core.timeline import EventType
from infra.core.tool_policy import Allow, Decision, Deny, decide_tool
from runner.agents import ask_tool
from runner.agents.port import Denial, Failure, Job, Mail, Question, Result, Sink
from runner.shielded import to_the_end

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, HookContext, HookInput, HookJSONOutput, Message
    from claude_agent_sdk.types import HookEvent

_HOOK_SECONDS = 60.0
_INTERRUPT_SECONDS = 1.0
_AFTER_RESULT_SECONDS = 2.0
_LAST_WORDS_SECONDS = 0.5
_ANSWER_TO_MAIL_SECONDS = 15.0
_CLOSE_SECONDS = 20.0
_STDERR_KEPT = 4_000


class Session:
    """One conversation with one process."""

    def __init__(
        self,
        job: Job,
        sink: Sink,
        options: ClaudeAgentOptions,
        *,
        clock: Clock,
        end_processes: Callable[[], Coroutine[object, object, None]],
        interrupt_processes: Callable[[], Coroutine[object, object, None]],
        grace_seconds: float,
    ) -> None:
        self._job = job
        self._sink = sink
        self._speaking = asyncio.Lock()
        self._options = options
        self._session_id = options.resume or options.session_id or ""
        self._clock = clock
        self._end_processes = end_processes
        self._interrupt_processes = interrupt_processes
        self._grace_seconds = grace_seconds
        self._stopping = False
        self._asked_to_stop = False
        self._heard_at = clock()
        self._decided: dict[str, tuple[Mapping[str, Any], Decision]] = {}
        self._usage_told = Usage()
        self._stderr = ""
        self._has_result = False
        self._unanswered: set[str] = set()
        self._asking = 0

    async def play(self) -> Result:
        """From the first message to the proof that no process is left."""
        from claude_agent_sdk import ClaudeSDKClient, HookMatcher

        hooks: dict[HookEvent, list[HookMatcher]] = {
            "PreToolUse": [HookMatcher(hooks=[self._before_tool], on_failure="block", timeout=_HOOK_SECONDS)]
        }
        options = replace(self._options, hooks=hooks, stderr=self._note_stderr)
        if self._job.ask and isinstance(options.mcp_servers, dict):
            options.mcp_servers = {**options.mcp_servers, ask_tool.SERVER: ask_tool.ask_server(self.ask)}
        client = ClaudeSDKClient(options)
        conversation = asyncio.ensure_future(self._converse(client))
        silence = asyncio.ensure_future(self._silence())
        denial = asyncio.ensure_future(self._job.model_access.denied())
        try:
            await asyncio.wait(
                {conversation, silence, denial},
                timeout=self._job.limits.wall_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            finished, idle, denied = conversation.done(), silence.done(), denial.done()
        except asyncio.CancelledError:
            self._asked_to_stop = True
            raise
        finally:
            denial.cancel()
            await to_the_end(self._end(client, conversation, silence))
        if denied:  # what the agent has to say about it is the same in other words
            result = self._denied(denial.result())
        else:
            result = conversation.result() if finished else self._out_of_time(Failure.IDLE if idle else Failure.TIME)
        await self._tell_usage()
        return result

    async def _converse(self, client: ClaudeSDKClient) -> Result:
        from claude_agent_sdk import ResultMessage

        from runner.agents.claude_messages import result_of

        try:
            await client.connect()
            await self._say(client, self._job.prompt, str(uuid.uuid4()))
            messages = client.receive_messages()
        except Exception as error:  # noqa: BLE001 - the SDK raises bare exceptions too; all mean that the CLI did not start
            return self._broken(error)
        listening = asyncio.ensure_future(self._deliver_mail(client))
        ended: Result | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(_ANSWER_TO_MAIL_SECONDS if ended else None):
                        message = await anext(messages, None)
                except TimeoutError:
                    return ended or self._broken(None)
                except Exception as error:  # noqa: BLE001 - the same for a CLI that broke off
                    return self._broken(error)
                if message is None:
                    return self._broken(None)
                await self._report(message)
                if not isinstance(message, ResultMessage):
                    ended = None
                    continue
                ended = result_of(message, exhausted=self._job.model_access.exhausted)
                self._unanswered -= {message.user_message_uuid or "", *(message.user_message_uuids or ())}
                if self._stopping or not self._unanswered or ended.failure not in {None, Failure.INTERRUPTED}:
                    self._has_result = True
                    return ended
        finally:
            self._job.inbox.close()
            listening.cancel()

    async def _say(self, client: ClaudeSDKClient, text: str, identity: str) -> None:
        """Each message has a name of its own, by which a result tells what it answers: a message may come too late for the
        turn that runs, and then has a turn and a result to itself."""

        async def one() -> AsyncIterator[dict[str, Any]]:
            yield {
                "type": "user",
                "message": {"role": "user", "content": text},
                "parent_tool_use_id": None,
                "uuid": identity,
            }

        await client.query(one())

    async def _report(self, message: Message) -> None:
        from claude_agent_sdk import UserMessage

        from runner.agents.claude_messages import arguments_of, events_of

        self._heard_at = self._clock()
        calls = arguments_of(message)
        for kind, data in events_of(message, str(self._job.tree)):
            if kind is EventType.TOOL_USE:  # also of calls that never reach the hook, because there is no such tool
                if data["id"] not in self._decided:
                    with suppress(OSError):
                        await self._decide(data["id"], data["name"], calls[data["id"]])
                continue
            if kind is EventType.TOOL_RESULT:
                self._job.audit.ended(data["id"], failed=data["is_error"])
            await self._tell(kind, data)
        if isinstance(message, UserMessage):  # a turn is over, and the broker has counted it
            await self._tell_usage()

    async def _before_tool(self, call: HookInput, tool_use_id: str | None, _context: HookContext) -> HookJSONOutput:
        """The hook before each tool call; whatever goes wrong in here blocks the call."""
        if call["hook_event_name"] != "PreToolUse":
            raise TypeError("This hook is only for tool calls.")
        name, arguments = call["tool_name"], call["tool_input"]
        self._heard_at = self._clock()
        decision = await self._decide(tool_use_id or "", name, arguments)
        if isinstance(decision, Deny):
            return {
                "hookSpecificOutput": {
                    "hookEventName": "PreToolUse",
                    "permissionDecision": "deny",
                    "permissionDecisionReason": decision.reason,
                }
            }
        return {}

    async def _decide(self, identity: str, name: str, arguments: Mapping[str, Any]) -> Decision:
        """Decided and written down before it runs, and told once: the stream and the hook both know of it, and either may be first.

        What the hook is asked counts, should the two differ. Raises ``OSError`` when it cannot be written down.
        """
        from runner.agents.claude_messages import tool_use

        before, known = self._decided.get(identity, (None, None))
        if known is not None and before == arguments:
            return known
        job = self._job
        decision = decide_tool(job.tool_policy, name, arguments, inside=(str(job.tree), str(job.home), str(job.tmp)))
        kind, data = tool_use(identity, name, arguments, str(job.tree))
        job.audit.decided(identity, name, data["input"], decision)
        self._decided[identity] = (arguments, decision)
        if type(decision) is type(known):
            return decision
        allowed = isinstance(decision, Allow)
        said = {"risk": decision.risk, "decision": "allow" if allowed else "deny", "reason": decision.reason}
        await self._tell(kind, {**data, **said})
        if not allowed:
            await self._tell(EventType.INFO, {"message": decision.reason, "code": "tool_denied"})
        return decision

    async def _tell_usage(self) -> None:
        from runner.agents.claude_messages import usage_event

        usage = self._job.model_access.usage
        if usage != self._usage_told:
            self._usage_told = usage
            await self._tell(*usage_event(usage))

    async def _tell(self, kind: EventType, data: Mapping[str, Any]) -> None:
        async with self._speaking:
            await self._sink(kind, data)

    async def _deliver_mail(self, client: ClaudeSDKClient) -> None:
        """Says what arrives in the inbox while the agent works; it is taken up with the next answer, or at once."""
        mail = asyncio.Event()
        self._job.inbox.on_put(mail.set)
        mail.set()
        while True:
            await mail.wait()
            mail.clear()
            for message in self._job.inbox.take():
                message.settled(await self._deliver(client, message))

    async def _deliver(self, client: ClaudeSDKClient, mail: Mail) -> bool:
        from claude_agent_sdk import ClaudeSDKError

        identity = str(uuid.uuid4())
        self._unanswered.add(identity)  # before the interruption's result comes, which is then not the last one
        try:
            if mail.interrupt:
                await client.interrupt()
            await self._say(client, mail.text, identity)
        except ClaudeSDKError:  # it is about to end, which the reader of its messages will find
            self._unanswered.discard(identity)
            return False
        return True

    async def ask(self, question: Question) -> list[str] | None:
        """The agent's question to people. While it waits, silence is not idleness."""
        assert self._job.ask is not None, "the tool is only given where somebody can be asked"
        self._asking += 1
        try:
            return await self._job.ask(question)
        finally:
            self._asking -= 1
            self._heard_at = self._clock()

    async def _silence(self) -> None:
        """Returns once neither the agent nor the model has said anything for the allowed time."""
        allowed = self._job.limits.idle_seconds * 1000
        while True:
            if self._asking:
                self._heard_at = self._clock()
            last = max(self._heard_at, self._job.model_access.active_at)
            left = last + allowed - self._clock()
            if left <= 0:
                return
            await asyncio.sleep(left / 1000)

    async def _end(
        self, client: ClaudeSDKClient, conversation: asyncio.Future[Result], silence: asyncio.Future[None]
    ) -> None:
        """Interrupts what is still at work, closes, and ends whatever does not go by itself.

        First in the agent's own language, in which it still says what it cost; then SIGINT, and time to go; then SIGKILL.
        """
        silence.cancel()
        if not conversation.done():
            self._stopping = True
            await _wait_for(asyncio.ensure_future(client.interrupt()), _INTERRUPT_SECONDS)
            await asyncio.wait({conversation}, timeout=_LAST_WORDS_SECONDS)
            if not conversation.done() and self._asked_to_stop:
                await self._interrupt_processes()
                await self._wait_for_the_end(conversation)
            if not conversation.done():
                await self._end_processes()
                await _wait_for(conversation, _LAST_WORDS_SECONDS)
        closing = asyncio.ensure_future(client.disconnect())
        if self._has_result:  # closing its input lets it save the session and go
            await asyncio.wait({closing}, timeout=_AFTER_RESULT_SECONDS)
        await self._end_processes()
        await _wait_for(closing, _CLOSE_SECONDS)

    async def _wait_for_the_end(self, conversation: asyncio.Future[Result]) -> None:
        hurried: asyncio.Future[Any] = asyncio.ensure_future(self._job.hurry.wait())
        waited: set[asyncio.Future[Any]] = {conversation, hurried}
        await asyncio.wait(waited, timeout=self._grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()

    def _note_stderr(self, line: str) -> None:
        self._stderr = f"{self._stderr}{line}\n"[-_STDERR_KEPT:]

    def _broken(self, error: Exception | None) -> Result:
        """The CLI ended, or spoke nonsense, without a result."""
        if self._job.model_access.exhausted:
            return self._failed(Failure.BUDGET, "The budget of the run was used up.")
        why = str(error)[:500] if error is not None else "it ended without a result"
        said = f" Its last words: {self._stderr.strip()[-1000:]}" if self._stderr.strip() else ""
        return self._failed(
            Failure.AGENT, f"Claude Code broke off: {why}.{said}", "Run again; if it happens twice, report it."
        )

    def _denied(self, denial: Denial) -> Result:
        return replace(self._failed(Failure.MODEL, denial.message, denial.hint), model_status=denial.status)

    def _out_of_time(self, failure: Failure) -> Result:
        limits = self._job.limits
        if failure is Failure.IDLE:
            text = f"The agent and the model were silent for {limits.idle_seconds} seconds."
            return self._failed(failure, text, "Run again; allow a longer silence if the task needs it.")
        text = f"The agent was not done after {limits.wall_seconds} seconds."
        return self._failed(failure, text, "Allow more time, or split the task.")

    def _failed(self, failure: Failure, message: str, hint: str = "") -> Result:
        return Result(summary="", session_id=self._session_id, failure=failure, message=message, hint=hint)


async def _wait_for(work: asyncio.Future[Any], seconds: float) -> None:
    """Gives ``work`` that long, then cancels it; how it ended matters to nobody any more."""
    await asyncio.wait({work}, timeout=seconds)
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()
