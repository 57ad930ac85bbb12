"""The import arrows: dispatcher, runner → adapters and records → core → standard library. Nothing points back.

Adapters are named only in the composition roots, so which cloud we are on is known in one file per program.
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ("infra.gcp", "infra.local", "infra.github", "infra.slack")
PROGRAMS = ("dispatcher", "runner")
FILES = sorted(
    path for package in (*PROGRAMS, "infra") for path in (ROOT / package).rglob("*.py") if "rehearsal" not in path.parts
)


def imports(path):
    """(module, line, inside a function) of every import in a file."""
    tree = ast.parse(path.read_text())
    local = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, id(node) in local) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}:{node.lineno} is a relative import; the function is loaded as a module named main"
            )
            yield node.module, node.lineno, id(node) in local


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def starts(module, *packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


def offences(allowed):
    return [
        f"{name_of(path)}:{line} imports {module}"
        for path in FILES
        for module, line, local in imports(path)
        if not allowed(name_of(path), module, local)
    ]


def test_the_core_imports_the_standard_library_and_itself_only():
    def allowed(importer, module, _):
        if not starts(importer, "infra.core"):
            return True
        return starts(module, "infra.core") or module.partition(".")[0] in sys.stdlib_module_names

    assert offences(allowed) == []


def test_no_program_imports_the_other_and_infra_imports_neither():
    def allowed(importer, module, _):
        others = [program for program in PROGRAMS if not starts(importer, program)]
        return not starts(module, *others)

    assert offences(allowed) == []


def test_adapters_do_not_import_each_other():
    # the local programs (cli, stack, demo) are the composition root of the embedded world
    roots = (
        "infra.local.cli",
        "infra.local.stack",
        "infra.local.replay",
        "infra.local.setup_cli",
        "infra.local.demo",
        "infra.local.bootstrap",
        "infra.local.terminal_view",
        "infra.local.client",
    )

    def allowed(importer, module, _):
        own = next((adapter for adapter in ADAPTERS if starts(importer, adapter)), None)
        if own is None or starts(importer, *roots):
            return True
        return not starts(module, *(adapter for adapter in ADAPTERS if adapter != own))

    assert offences(allowed) == []


# these do no I/O: the webhook's are on the way of every delivery, app_auth reads a key; the forge's client is reached through its port
PURE_ADAPTERS = (
    "infra.github.app_auth",
    "infra.github.webhook",
    "infra.github.events",
    "infra.github.payloads",
    "infra.github.occasions",
)


def test_programs_name_adapters_only_in_their_wiring():
    def allowed(importer, module, local):
        if not starts(importer, *PROGRAMS) or not starts(module, *ADAPTERS) or starts(module, *PURE_ADAPTERS):
            return True
        return importer in {"dispatcher.wiring", "runner.wiring"} and local

    assert offences(allowed) == []


SETTINGS_READERS = {"infra.settings", "infra.local.cli"}
# programs that start others pass PATH, proxies and the like on to them; what they *decide* comes from settings
PASSING_ON = {
    "infra.local.stack",
    "infra.local.replay",
    "infra.local.forge.world",
    "runner.wiring",
    "runner.service",
    "runner.replay",
    "runner.job",
    "runner.cli",
}
# runs inside a box and looks for what should not be there
PROBES = {"runner.probes"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_settings_read_the_environment(path):
    tree = ast.parse(path.read_text())
    touched = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not touched or name_of(path) in SETTINGS_READERS | PASSING_ON | PROBES, touched


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_digests_keys_and_tokens_are_never_compared_with_equals(path):
    words = ("digest", "signature", "hmac")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops):
            sides = [node.left, *node.comparators]
            names = {
                part.id if isinstance(part, ast.Name) else part.attr
                for side in sides
                for part in [side]
                if isinstance(part, (ast.Name, ast.Attribute))
            }
            assert not [name for name in names if any(word in name.lower() for word in words)], (
                f"line {node.lineno}: use hmac.compare_digest"
            )
