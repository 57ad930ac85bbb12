"""A project's own file, read when a run is claimed: from the default branch, through the API, never from the code under work."""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.engine.prepare import Blocked
from dispatcher.services import Services
from infra.core.container import PATH, Checked, Container, Known, check_container
from infra.core.errors import Invalid, PullwrightError
from infra.core.mcp_order import names_used
from infra.core.model_access import allowed_models
from infra.core.project_secrets import stored_name
from infra.core.repository import Repository
from infra.core.run import Reason, Run, State
from infra.core.secrets import Secrets

_TOLD_ERRORS = 5


async def project_file(run: Run, services: Services) -> Checked | Blocked:
    """What the project asks for – nothing, when it has no file – or why the run must not start."""
    repository = Repository(owner=run.owner, name=run.repo)
    forge = (await services.forge()).on(run.installation_id, repository)
    try:
        source = await forge.file(PATH, "")
        if source is None:
            return Checked(Container())
        return await check(source, repository, services)
    except Invalid as error:
        return _blocked(error)


async def check(source: bytes, repository: Repository, services: Services) -> Checked:
    """The file's meaning on this installation. Raises ``Invalid`` naming the lines that are wrong."""
    from infra.documents import Unreadable, read_yaml

    try:
        tree = read_yaml(source)
    except Unreadable as error:
        place = f"{error.place.line}:{error.place.column}"
        raise Invalid(f"{PATH}:{place} {error.problem}", code="invalid_project_file", hint=error.hint) from error
    settings = services.settings
    models = allowed_models(settings.allowed_models, settings.claude_model)
    used = names_used(check_container(tree, Known(models=models)).container.mcp_servers)
    known = frozenset([name for name in sorted(used) if await services.secrets.get(stored_name(repository, name))])
    command = f"pullwright secret set {repository} {{name}}"
    checked = check_container(tree, Known(models=models, secrets=known, set_secret=command))
    if errors := checked.findings.errors:
        first, *others = [each.told(PATH) for each in errors[:_TOLD_ERRORS]]
        more = f" (and {len(errors) - _TOLD_ERRORS} more)" if len(errors) > _TOLD_ERRORS else ""
        raise Invalid(first, code="invalid_project_file", hint=" ".join(others) + more)
    return checked


def _blocked(error: PullwrightError) -> Blocked:
    hint = f"{error.hint} Mend the file on the default branch, then start the run again.".strip()
    return Blocked(State.BLOCKED, Reason(code="invalid_project_file", message=error.message, hint=hint))


async def mcp_secrets(container: Container, repository: Repository, secrets: Secrets) -> Mapping[str, dict[str, str]]:
    """What each server of the project gets, by the server's own names for its variables. A secret that went meanwhile is left out."""
    found: dict[str, dict[str, str]] = {}
    for order in container.mcp_servers:
        for variable, name in order.secrets.items():
            secret = await secrets.get(stored_name(repository, name))
            if secret is not None:
                found.setdefault(order.server, {})[variable] = secret.text
    return found
