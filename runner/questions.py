"""Questions of an agent to people: shown as events, answered from anywhere, waited for with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.core.ids import Entropy, new_token
from infra.core.timeline import EventType
from runner.agents.port import Question, QuestionKind, Sink

MOST_CHARACTERS = 10_000


@dataclass(slots=True, kw_only=True)
class Questions:
    """Open questions of one run. ``wait_seconds``: how long an agent waits before it has to decide alone."""

    sink: Sink
    entropy: Entropy
    wait_seconds: float
    _open: dict[str, tuple[Question, asyncio.Future[list[str]]]] = field(default_factory=dict)

    async def ask(self, question: Question) -> list[str] | None:
        """The answers, None when nobody answered in time."""
        identity = f"q-{new_token(self.entropy, 10)}"
        answered: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._open[identity] = (question, answered)
        told = {"id": identity, "text": question.text, "kind": question.kind, "options": list(question.options)}
        try:
            await self.sink(EventType.QUESTION, told)
            async with asyncio.timeout(self.wait_seconds):
                return await answered
        except TimeoutError:
            text = f"Nobody answered within {self.wait_seconds:.0f} seconds; the agent decides."
            await self.sink(EventType.INFO, {"message": text, "code": "question_unanswered", "id": identity})
            return None
        finally:
            self._open.pop(identity, None)

    def answer(self, identity: str, answers: Sequence[str]) -> str:
        """Why the answer cannot be taken; empty when it was."""
        question, answered = self._open.get(identity, (None, None))
        if question is None or answered is None or answered.done():
            return "That question is not open: it was answered, or nobody waits any more."
        problem = problem_with(question, answers)
        if not problem:
            answered.set_result(list(answers))
        return problem


def problem_with(question: Question, answers: Sequence[str]) -> str:
    """Why these are no answers to the question; empty when they are."""
    if sum(map(len, answers)) > MOST_CHARACTERS:
        return f"The answer is longer than {MOST_CHARACTERS:,} characters."
    match question.kind:
        case QuestionKind.FREE:
            return "" if len(answers) == 1 and answers[0].strip() else "This question takes one text."
        case QuestionKind.ONE:
            fits = len(answers) == 1 and answers[0] in question.options
            return "" if fits else f"This question takes exactly one of: {', '.join(question.options)}."
        case QuestionKind.SEVERAL:
            fits = bool(answers) and len(set(answers)) == len(answers) and set(answers) <= set(question.options)
            return "" if fits else f"This question takes one or more of: {', '.join(question.options)}."
