"""The gcloud commands that our pages, scripts and Terraform tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = sorted((ROOT / ".ci").iterdir())
TERRAFORM = sorted((ROOT / "terraform").glob("*.tf"))


def in_shell(text):
    """Every gcloud command of a piece of shell, also those inside ``$(…)``, with variables filled in."""
    return [
        _plain(_until_the_end(text[match.start() :])) for match in re.finditer(r"(?<![\w./-])gcloud (?=[a-z])", text)
    ]


def of(path):
    """The commands in one file: fenced shell and inline code of a page, lines of a script, text of Terraform."""
    text = path.read_text()
    if path.suffix == ".md":
        fenced = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        inline = re.findall(r"`(gcloud [a-z][^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        return [command for part in fenced + inline for command in in_shell(part)]
    if path.suffix == ".tf":
        code = re.sub(r"\$\{[^}]*\}", "x", re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE))
        whole = re.findall(r'"(gcloud [a-z][^"`]*)"', code)
        return [command for part in whole + re.findall(r"`(gcloud [a-z][^`]*)`", code) for command in in_shell(part)]
    return in_shell(re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE))


def _until_the_end(text):
    """Up to where the shell would see the command end."""
    quote, depth, found = "", 0, []
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character == "'" or (
            character == '"' and text[: len(found)].count('"') % 2 == 0 and _closes(text, len(found))
        ):
            quote = character
        elif character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif character in '|;&\n>)"':
            break
        found.append(character)
    return "".join(found).strip()


def _closes(text, start):
    """Whether the double quote at ``start`` opens a word of this line rather than ends the text around the command."""
    return text[start - 1] in " =" and '"' in text[start + 1 :].partition("\n")[0]


def _plain(command):
    command = command.replace("$_PERCENT", "10")
    filled = re.sub(r"\$\{?\w+\}?", "x", re.sub(r'"\$\{?\w+\}?"', "x", command))
    return filled.replace("user:you@example.org", "user:you@example.com")
