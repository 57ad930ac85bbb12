"""A person who commits, pushes and opens pull requests in ``acme/shop`` of the local forge, with the real git."""

from tests.world.forge import bearer
from tests.world.git_client import clone, commit, succeed


class Contributor:
    def __init__(self, github, folder):
        self.github = github
        self._work = folder / "contributor"

    async def push(self, path, text, *, branch="main"):
        """Commits one file on top of the branch as it is on the forge (a new one starts at ``main``); returns the commit."""
        if not self._work.exists():
            await clone(self.github.clone_url(self.github.person), self._work)
        await succeed("fetch", "--quiet", "origin", cwd=self._work)
        known = await succeed("branch", "--remotes", "--list", f"origin/{branch}", cwd=self._work)
        start = f"origin/{branch}" if known else "origin/main"
        await succeed("checkout", "--quiet", "-B", branch, start, cwd=self._work)
        sha = await commit(self._work, path, text, f"Change {path}")
        await succeed("push", "--quiet", "origin", branch, cwd=self._work)
        return sha

    async def open_pull(self, head, title="Feature", body="What it is."):
        answer = await self._post("pulls", {"title": title, "body": body, "head": head, "base": "main"})
        return answer["number"]

    async def comment(self, number, body):
        return await self._post(f"issues/{number}/comments", {"body": body})

    async def _post(self, path, body):
        answer = await self.github.http.post(
            f"{self.github.path}/{path}", json=body, headers=bearer(self.github.person)
        )
        assert answer.status_code == 201, answer.text
        return answer.json()
