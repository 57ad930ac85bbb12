"""The only reader of the environment. Each program decodes its own frozen settings once, at start.

A field's name in upper case is the variable's name; its ``Meta`` is its line in ``docs/settings.md``. Values that do not
fit are refused with a sentence that names the variable; what only some requests need is asked for with ``required``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from infra.core.ci_repair import Caps
from infra.core.egress import parse_allow_list
from infra.core.errors import Invalid, Unavailable
from infra.core.execution import choose_host, parse_classes
from infra.core.model_access import (
    ANTHROPIC_API,
    CREDENTIALS,
    Mode,
    Vertex,
    allowed_models,
    check_access,
    check_model,
)
from infra.core.outlets import parse_outlets
from infra.core.publish_policy import DEFAULT_BRANCH_TEMPLATE, CommitMode, PublishPolicy
from infra.foreign_settings import FOREIGN

Url = Annotated[str, Meta(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")]


class Common(msgspec.Struct, frozen=True, kw_only=True, rename=str.upper):
    environment: Annotated[
        Literal["development", "staging", "production"], Meta(description="Which deployment this is; shown on GET /.")
    ] = "development"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="Least severe log line that is written.")
    ] = "INFO"
    debug: Annotated[str, Meta(description="Set to * for debug logs (the same as LOG_LEVEL=DEBUG).")] = ""
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; set by Cloud Run.")] = 8080
    github_api_url: Annotated[
        Url, Meta(description="GitHub's REST API; https://HOST/api/v3 for GitHub Enterprise.")
    ] = "https://api.github.com"
    github_url: Annotated[Url, Meta(description="Where repositories are cloned from and people browse.")] = (
        "https://github.com"
    )
    hmac_secret: Annotated[
        str,
        Meta(
            description="Mixed into the key that signs gateway requests; equal on dispatcher and runner, or empty on both."
        ),
    ] = ""
    extra_allowed_commands: Annotated[
        str,
        Meta(
            description="Comma list of commands that people may run beside an agent, besides the fourteen: make build,make test,./custom-script.sh. The same on dispatcher and runner."
        ),
    ] = ""

    @property
    def effective_log_level(self) -> str:
        return "DEBUG" if self.debug else self.log_level


class GoogleSettings(Common, frozen=True, kw_only=True, rename=str.upper):
    """What both programs must know of the Google Cloud project they run in."""

    platform: Annotated[
        Literal["local", "google"],
        Meta(
            description="local: SQLite, encrypted files, local queue, folder. google: Firestore, Secret Manager, Cloud Tasks, Cloud Storage; callers prove themselves by Google identity tokens."
        ),
    ] = "local"
    invoker_service_account: Annotated[
        str,
        Meta(
            description="E-mail of the service account in whose name Cloud Tasks and Cloud Scheduler call; nobody else may."
        ),
    ] = ""
    runner_audience: Annotated[
        str, Meta(description="Whom tokens for the runner service are for. Empty: CLAUDE_CLOUD_RUN_URL.")
    ] = ""
    google_certs_url: Annotated[Url, Meta(description="Where Google publishes the keys of identity tokens.")] = (
        "https://www.googleapis.com/oauth2/v3/certs"
    )


class DispatcherSettings(GoogleSettings, frozen=True, kw_only=True, rename=str.upper):
    """What the control plane reads."""

    google_cloud_project: Annotated[str, Meta(description="Id of the Google Cloud project.")] = ""
    google_cloud_region: Annotated[str, Meta(description="Region of the queues and jobs.")] = "us-central1"
    firestore_database: Annotated[str, Meta(description="Name of the Firestore database.")] = "(default)"
    artifact_bucket: Annotated[str, Meta(description="Cloud Storage bucket for what is kept with runs.")] = ""
    runs_queue: Annotated[
        str, Meta(description="Cloud Tasks queue of the runner service, whose requests last as long as runs.")
    ] = "runs"
    internal_queue: Annotated[
        str, Meta(description="Cloud Tasks queue of calls to the dispatcher itself, which are short.")
    ] = "internal"
    executor: Annotated[
        Literal["auto", "service", "job"],
        Meta(
            description="Where runs are executed: service (one request each, 25 min at most), job (one Cloud Run job execution each) or auto (the service where the run's time limit allows it)."
        ),
    ] = "auto"
    runner_job: Annotated[
        str, Meta(description="Cloud Run jobs of the runner are called this, a dash, and their class.")
    ] = "claude-code-runner"
    runner_class: Annotated[
        str,
        Meta(
            pattern=r"^[1-9]x[1-9][0-9]?$",
            description="Class of jobs for projects that ask for nothing else, and of the service for its price: CPUs x GiB of memory.",
        ),
    ] = "2x4"
    runner_classes: Annotated[
        str,
        Meta(
            description="Comma list of the classes that there are jobs of; what a project asks for is rounded up to the next."
        ),
    ] = "1x2,2x4,4x8,8x16"
    max_concurrent_runs: Annotated[
        int, Meta(ge=0, le=1000, description="Runs under way at once; the others wait. 0: no limit.")
    ] = 20
    max_runs_per_repository: Annotated[
        int, Meta(ge=0, le=1000, description="The same for one repository. 0: no limit.")
    ] = 0
    cloud_tasks_endpoint: Annotated[str, Meta(description="Cloud Tasks' API, as host or host:port.")] = (
        "cloudtasks.googleapis.com"
    )
    secret_manager_endpoint: Annotated[str, Meta(description="Secret Manager's API, as host or host:port.")] = (
        "secretmanager.googleapis.com"  # noqa: S105 – an address
    )
    cloud_run_endpoint: Annotated[str, Meta(description="Cloud Run's API, as host or host:port.")] = (
        "run.googleapis.com"
    )
    storage_endpoint: Annotated[Url, Meta(description="Cloud Storage's API.")] = "https://storage.googleapis.com"
    gce_metadata_host: Annotated[
        str, Meta(description="The metadata server, as host or host:port; Google's clients read it too.")
    ] = "metadata.google.internal"
    data_dir: Annotated[str, Meta(description="Where local mode keeps its state.")] = ".data"
    public_url: Annotated[
        Url,
        Meta(description="The dispatcher's own address as runners and people reach it. Empty: http://127.0.0.1:PORT."),
    ] = ""
    claude_cloud_run_url: Annotated[Url, Meta(description="Address of the runner service (claude-code-runner).")] = ""
    github_app_id: Annotated[str, Meta(description="The GitHub App's id.")] = ""
    github_app_private_key: Annotated[
        str, Meta(description="The App's RSA key, PEM, several lines or with \\n. Empty: read from the secret store.")
    ] = ""
    github_webhook_secret: Annotated[
        str, Meta(description="Secret that signs GitHub's webhooks. Empty: read from the secret store.")
    ] = ""
    model_auth: Annotated[
        Literal["api_key", "oauth", "gateway", "vertex"],
        Meta(
            description="How the model is paid: api_key, oauth (one operator's own subscription token), gateway (bearer token) or vertex (Vertex AI)."
        ),
    ] = "api_key"
    vertex_enabled: Annotated[bool, Meta(description="The same as MODEL_AUTH=vertex.")] = False
    vertex_project_id: Annotated[str, Meta(description="For Vertex AI: the project that pays for the model.")] = ""
    vertex_region: Annotated[
        str,
        Meta(description="For Vertex AI: global, us, eu or a region such as us-east5; all but global cost 10 % more."),
    ] = "global"
    vertex_user_token: Annotated[
        str,
        Meta(
            description="For Vertex AI: a person's own access token (gcloud auth print-access-token), good for an hour. Empty: the service account's, which needs PLATFORM=google."
        ),
    ] = ""
    vertex_base_url: Annotated[
        Url, Meta(description="Another address for Vertex AI, such as a proxy's, ending in /v1. Empty: Google's.")
    ] = ""
    anthropic_base_url: Annotated[Url, Meta(description="The model's API, or a gateway in front of it.")] = (
        ANTHROPIC_API
    )
    anthropic_api_key: Annotated[
        str, Meta(description="For MODEL_AUTH=api_key. Empty: read from the secret store.")
    ] = ""
    anthropic_auth_token: Annotated[
        str, Meta(description="For MODEL_AUTH=gateway. Empty: read from the secret store.")
    ] = ""
    claude_code_oauth_token: Annotated[
        str, Meta(description="For MODEL_AUTH=oauth: the operator's own token. Empty: read from the secret store.")
    ] = ""
    claude_model: Annotated[str, Meta(min_length=1, description="Model for runs that name none.")] = "claude-opus-5-5"
    allowed_models: Annotated[
        str,
        Meta(
            description="Comma list of models that runs may use. Empty: CLAUDE_MODEL only, and the small model beside it."
        ),
    ] = ""
    trigger_label: Annotated[str, Meta(min_length=1, description="Label that makes an issue a run.")] = "claude"
    dispatch_wait_seconds: Annotated[
        float,
        Meta(ge=0, le=600, description="How long a dispatch call waits for the result when it does not say itself."),
    ] = 55.0
    lease_seconds: Annotated[
        float, Meta(ge=2, le=600, description="A runner that is silent for this long has lost its run.")
    ] = 60.0
    heartbeat_seconds: Annotated[float, Meta(ge=0.2, le=120, description="How often a runner says that it lives.")] = (
        5.0
    )
    event_retention_days: Annotated[
        int,
        Meta(
            ge=7, le=3650, description="How long a run's events are kept; readers who come later are told of the gap."
        ),
    ] = 90
    run_timeout_seconds: Annotated[
        int,
        Meta(ge=30, le=86400, description="Wall-clock limit of one attempt. Above 1500 s it takes a job (EXECUTOR)."),
    ] = 1500
    run_idle_seconds: Annotated[
        int, Meta(ge=10, description="An agent that says nothing for this long is stopped.")
    ] = 600
    run_max_turns: Annotated[int, Meta(ge=1, description="Most answers of the model in one run.")] = 150
    run_budget_usd: Annotated[float, Meta(gt=0, le=1000, description="Most that one run may spend on the model.")] = 5.0
    allowed_domains: Annotated[
        str,
        Meta(
            description="Comma list of hosts that agents may reach: example.org, *.example.org, or presets such as python and node. Empty: none."
        ),
    ] = ""
    branch_template: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="Branch of a new pull request, with {run}, {short}, {issue}, {title} and {actor}.",
        ),
    ] = DEFAULT_BRANCH_TEMPLATE
    commit_mode: Annotated[
        Literal["push", "api"],
        Meta(description="push: git push. api: commits made through GitHub's API, which GitHub shows as verified."),
    ] = "push"
    pr_draft: Annotated[bool, Meta(description="Pull requests begin as drafts.")] = False
    pr_labels: Annotated[str, Meta(description="Comma list of labels that every new pull request gets.")] = ""
    pr_reviewers: Annotated[
        str,
        Meta(description="Comma list of people, and teams as @team, who are asked to review every new pull request."),
    ] = ""
    ci_repairs_per_head: Annotated[
        int,
        Meta(ge=0, le=10, description="How often one commit's red checks may be repaired before a person is asked."),
    ] = 1
    ci_repairs_per_pull: Annotated[int, Meta(ge=0, le=50, description="The same for a whole pull request.")] = 3
    needs_human_label: Annotated[
        str, Meta(min_length=1, description="Label of a pull request whose checks the platform gives up on.")
    ] = "needs-human"
    pr_assign_requester: Annotated[
        bool, Meta(description="The person who asked is assigned to the new pull request.")
    ] = False
    model_outlets: Annotated[
        str,
        Meta(
            description="Comma list of what the model's own servers may do for agents beyond answering: url_sources, web_fetch, web_search. Empty: nothing."
        ),
    ] = ""
    record_cassettes: Annotated[
        bool,
        Meta(
            description="Keep each run's conversation with the model, masked, so that pullwright replay can play it again without a model."
        ),
    ] = False
    rehearsal: Annotated[
        bool, Meta(description="Says in every pull request that the model was scripted; set by local mode.")
    ] = False

    def __post_init__(self) -> None:
        parse_allow_list(self.allowed_domain_list)
        self._check_executor()
        self._check_lease()
        self._check_platform()
        if self.platform == "google":
            _need(
                self,
                "google_cloud_project",
                "artifact_bucket",
                "invoker_service_account",
                "public_url",
                "claude_cloud_run_url",
            )
        _ = self.publishing  # refuses what makes no branch name
        parse_outlets(self.model_outlets.split(","))
        if self.vertex_enabled and self.model_auth not in {"api_key", "vertex"}:
            raise Invalid(
                f"VERTEX_ENABLED and MODEL_AUTH={self.model_auth} contradict each other.",
                code="contradictory_settings",
                hint="Unset VERTEX_ENABLED, or set MODEL_AUTH=vertex.",
            )
        check_access(
            self.model_mode, given=self._model_credentials(), base_url=self.anthropic_base_url, vertex=self.vertex
        )
        check_model(self.claude_model, allowed_models(self.allowed_models, self.claude_model))

    @property
    def model_mode(self) -> Mode:
        return Mode.VERTEX if self.vertex_enabled else Mode(self.model_auth)

    @property
    def vertex(self) -> Vertex:
        return Vertex(project=self.vertex_project_id, region=self.vertex_region, base_url=self.vertex_base_url)

    def _model_credentials(self) -> tuple[str, ...]:
        """The variables that hold one."""
        return tuple(name for name in CREDENTIALS.values() if getattr(self, name.lower()))

    def _check_lease(self) -> None:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise Invalid(
                f"HEARTBEAT_SECONDS={self.heartbeat_seconds:g} is too seldom for LEASE_SECONDS={self.lease_seconds:g}: one lost heartbeat would lose the run.",
                code="contradictory_settings",
                hint="A lease has to be at least two heartbeats long.",
            )

    def _check_platform(self) -> None:
        """What belongs to the cloud is not quietly left unused, and tokens do not travel in clear text."""
        if self.platform == "local":
            cloud = [name for name in ("artifact_bucket", "invoker_service_account") if getattr(self, name)]
            if cloud:
                raise Invalid(
                    f"{cloud[0].upper()} has no meaning with PLATFORM=local.",
                    code="contradictory_settings",
                    hint=f"Set PLATFORM=google, or unset {cloud[0].upper()}.",
                )
            return
        for name in ("public_url", "claude_cloud_run_url"):
            url = urlsplit(getattr(self, name))
            if url.scheme == "http" and url.hostname not in {"127.0.0.1", "localhost"}:
                raise Invalid(
                    f"{name.upper()} starts with http://, and tokens would travel in clear text.",
                    code="contradictory_settings",
                    hint="Use the https:// address.",
                )

    def _check_executor(self) -> None:
        if self.platform == "local" and self.executor == "job":
            raise Invalid(
                "EXECUTOR=job needs Google Cloud.", code="invalid_setting", hint="Set PLATFORM=google or EXECUTOR=auto."
            )
        if parse_classes(self.runner_class)[0] not in parse_classes(self.runner_classes):
            raise Invalid(
                f"RUNNER_CLASS={self.runner_class} is not one of RUNNER_CLASSES={self.runner_classes}.",
                code="invalid_setting",
                hint="Add it there, and to resource_classes in terraform.tfvars.",
            )
        executor = "service" if self.platform == "local" else self.executor
        choose_host(executor, self.run_timeout_seconds)

    @property
    def allowed_domain_list(self) -> tuple[str, ...]:
        return _listed(self.allowed_domains)

    @property
    def publishing(self) -> PublishPolicy:
        people = _listed(self.pr_reviewers)
        return PublishPolicy(
            draft=self.pr_draft,
            labels=_listed(self.pr_labels),
            reviewers=tuple(one for one in people if not one.startswith("@")),
            team_reviewers=tuple(one.removeprefix("@") for one in people if one.startswith("@")),
            assign_requester=self.pr_assign_requester,
            branch_template=self.branch_template,
            commit_mode=CommitMode(self.commit_mode),
        )

    @property
    def allowed_model_list(self) -> tuple[str, ...]:
        """The models that runs may use: the operator's list, or the one that runs get."""
        listed = tuple(name for part in self.allowed_models.split(",") if (name := part.strip()))
        return listed or (self.claude_model,)

    @property
    def repair_caps(self) -> Caps:
        return Caps(per_head=self.ci_repairs_per_head, per_pull=self.ci_repairs_per_pull)

    @property
    def own_url(self) -> str:
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")


class RunnerSettings(GoogleSettings, frozen=True, kw_only=True, rename=str.upper):
    """What the runner's hosts read. The only secret is the token of the one run that a job or a laptop works on."""

    gateway_url: Annotated[
        Url, Meta(description="The dispatcher's address, for a job or a laptop; a service is told in each request.")
    ] = ""
    run_id: Annotated[str, Meta(description="For a job: the run to work on.")] = ""
    run_token: Annotated[str, Meta(description="For a job: the run's capability token.")] = ""

    work_dir: Annotated[
        str, Meta(description="Where runs have their workspaces. Empty: the system's temporary folder.")
    ] = ""
    runner_concurrency: Annotated[
        int,
        Meta(
            ge=1, le=64, description="Runs at once in this process; 1 in the cloud, where an instance serves one run."
        ),
    ] = 1
    runner_single_use: Annotated[bool, Meta(description="Exit after one run, so that no instance ever serves two.")] = (
        False
    )
    runner_sandbox: Annotated[
        Literal["require", "prefer", "off"],
        Meta(
            description="require: no start without every wall; prefer: bubblewrap where it passes its self-test; off: never."
        ),
    ] = "prefer"
    question_seconds: Annotated[
        float,
        Meta(ge=1, le=86400, description="How long an agent waits for an answer before it has to decide by itself."),
    ] = 600.0
    allow_self_signed: Annotated[
        Literal["false", "true", "always"],
        Meta(
            description="true: accept a certificate that nobody vouches for from a gateway on this very machine. always: from any (the run's token goes there)."
        ),
    ] = "false"
    claude_command: Annotated[
        str, Meta(description="The Claude Code program to start. Empty: the one that comes with the SDK.")
    ] = ""
    agent_command: Annotated[
        str, Meta(description="For rev-runner: the command to run, as words; --cmd overrules it.")
    ] = ""
    assist: Annotated[
        Literal["on", "off"],
        Meta(description="off: claude-runner assist opens no terminal of this machine to others."),
    ] = "on"
    runs_dir: Annotated[
        str,
        Meta(min_length=1, description="Where a person's runner keeps the logs of runs: RUNS_DIR/RUN_ID/claude.log."),
    ] = ".data/runs"
    checkpoint_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Least time between two checkpoints of an agent at work; what it did since the last one is lost with its runner.",
        ),
    ] = 60.0
    runner_toolchains: Annotated[
        str,
        Meta(description="Folders besides /usr that agents can read, separated by colons, such as /opt/node:/opt/go."),
    ] = ""
    runner_mcp_dir: Annotated[
        str, Meta(description="Folder with the installed MCP servers, one folder each; see docs/project.md.")
    ] = "/opt/mcp"
    container_id: Annotated[str, Meta(description="Unique name of this runner. Empty: made at start.")] = ""
    session_id: Annotated[str, Meta(description="The same as RUN_ID, for those who call a run a session.")] = ""
    websocket_url: Annotated[
        str,
        Meta(
            description="A WebSocket of your own (wss://…) that gets each stored event as one JSON message. Empty: none."
        ),
    ] = ""
    invoker_iam_check: Annotated[
        bool,
        Meta(
            description="Cloud Run's invoker check stands in front of this service: it verifies tokens and removes their signatures. Never set it for a public service."
        ),
    ] = False


S = TypeVar("S", bound=Common)


def load(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """The settings from the environment. Raises ``Invalid`` naming the variable that does not fit."""
    source = os.environ if environment is None else environment
    given = {name: source[name] for name in names(kind) if source.get(name, "") != ""}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        sentence = str(error).replace("`$.", "`")
        raise Invalid(
            f"A setting does not fit: {sentence}.", code="invalid_setting", hint="See docs/settings.md."
        ) from error


def names(kind: type[Common]) -> tuple[str, ...]:
    """All variables that a program reads, in the order of the docs."""
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def _need(settings: GoogleSettings, *needed: str) -> None:
    missing = [name.upper() for name in needed if not getattr(settings, name)]
    if missing:
        raise Invalid(
            f"PLATFORM=google needs {', '.join(missing)}.",
            code="missing_setting",
            hint="terraform output prints them; docs/settings.md says what they mean.",
        )


def required(value: str, name: str) -> str:
    """The value, or ``Unavailable`` with the exact sentence that names what is missing."""
    if not value:
        raise Unavailable(
            f"{name} not set", code="missing_setting", hint=f"Set {name} in the environment or in .env, then restart."
        )
    return value


def check_known(given: Mapping[str, Any], *kinds: type[Common], extra: tuple[str, ...] = ()) -> None:
    """Refuses variables of a settings file that nothing reads. Raises ``Invalid`` with the nearest known name."""
    known = {name for kind in kinds for name in names(kind)} | set(extra)
    for name in given:
        if name not in known:
            if name in FOREIGN:
                raise Invalid(f"{name} is not a setting here.", code="unknown_setting", hint=FOREIGN[name])
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "docs/settings.md lists all settings."
            raise Invalid(f"{name} is not a setting.", code="unknown_setting", hint=hint)


def describe(kind: type[Common]) -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, for the documentation."""
    hints = get_type_hints(kind, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(kind):
        default = "" if field.default is msgspec.NODEFAULT else str(field.default)
        rows.append((field.encode_name, default, _meaning(hints[field.name])))
    return rows


def _listed(text: str) -> tuple[str, ...]:
    return tuple(entry for part in text.split(",") if (entry := part.strip()))


def _meaning(annotation: Any) -> str:
    metas = (
        [item for item in get_args(annotation) if isinstance(item, Meta)] if get_origin(annotation) is Annotated else []
    )
    return next((meta.description for meta in metas if meta.description), "")
