"""The two git hooks every repository has: refuse what GitHub refuses, and note what a push really changed."""

from __future__ import annotations

from pathlib import Path

# The words are GitHub's: https://github.com/actions/checkout/issues (many reports of the second),
# https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches
_PRE_RECEIVE = """\
#!/bin/sh
# FORGE_PROTECTED: a ref that only merges change. FORGE_WORKFLOWS: "write" if the token may touch workflow files.
refused=0
while read -r old new ref; do
  if [ "$ref" = "$FORGE_PROTECTED" ]; then
    echo "error: GH006: Protected branch update failed for $ref." >&2
    echo "error: Changes must be made through a pull request." >&2
    refused=1
  fi
  case "$new" in *[!0]*) ;; *) continue ;; esac
  [ "$FORGE_WORKFLOWS" = write ] && continue
  path=$(git log -c --full-history --format= --name-only "$new" --not --all -- .github/workflows | sed -n '/./{p;q;}')
  if [ -n "$path" ]; then
    echo "error: refusing to allow a GitHub App to create or update workflow \\`$path\\` without \\`workflows\\` permission" >&2
    refused=1
  fi
done
exit $refused
"""

_POST_RECEIVE = """\
#!/bin/sh
# FORGE_UPDATES: the file in which the forge reads "old new ref" for each ref that this push changed.
if [ -n "$FORGE_UPDATES" ]; then cat >> "$FORGE_UPDATES"; else cat > /dev/null; fi
"""


def write(folder: Path) -> None:
    """Puts both hooks into ``folder``, for ``core.hooksPath``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("pre-receive", _PRE_RECEIVE), ("post-receive", _POST_RECEIVE)):
        file = folder / name
        file.write_text(text)
        file.chmod(0o700)
