"""Branch names from templates: always valid, never shared by two runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.errors import Invalid
from infra.core.ids import RunId
from infra.core.publish_policy import PublishPolicy, branch_name, is_own_branch
from infra.core.repository import parse_ref
from infra.core.run import Limits, Origin, Run, State

RUN = RunId("run-01jcqz7v8wabcdefghjkmnpqrs")


def a_run(title="Totals are wrong", actor="alice", issue=12, run_id=RUN):
    return Run(
        id=run_id, owner="acme", repo="shop", installation_id=1, ref="", base_sha="", title=title, task="t",
        action="create-pr", origin=Origin(kind="github_issue", actor=actor, issue=issue), model="m",
        limits=Limits(budget_micros=1, wall_seconds=1, idle_seconds=1, max_turns=1), state=State.QUEUED,
        created_at=1, updated_at=1, wake_at=1, launched_at=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("claude/{run}", f"claude/{RUN}"),
        ("claude/{issue}-{title}", "claude/12-totals-are-wrong-jkmnpqrs"),
        ("bots/{actor}/{short}", "bots/alice/jkmnpqrs"),
        ("same", "same-jkmnpqrs"),
    ],
)
def test_templates(template, name):
    assert branch_name(template, a_run()) == name


@given(st.sampled_from(["{title}", "x/{title}/{actor}", "{issue}{title}"]), st.text(max_size=200), st.text(max_size=60))
def test_whatever_people_write_the_name_is_valid_and_the_runs_own(template, title, actor):
    name = branch_name(template, a_run(title, actor))
    assert parse_ref(name) == name
    assert is_own_branch(name, RUN)


@pytest.mark.parametrize("template", ["{nothing}", "a..b", "with space/{run}", "-{run}", "{run}.lock", "a//{run}"])
def test_templates_that_make_no_branch_are_refused_when_they_are_set(template):
    with pytest.raises(Invalid):
        PublishPolicy(branch_template=template)
