"""Variables that people know from similar systems and that nothing here reads, each with what to do instead.

``infra/settings.py`` refuses them in a settings file with the sentence; ``docs/settings.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping

FOREIGN: Mapping[str, str] = {
    "BACKEND_URL": "The dispatcher's address is PUBLIC_URL for itself and GATEWAY_URL for a runner.",
    "DATABASE_URL": "There is no SQL server: state is in DATA_DIR, or in FIRESTORE_DATABASE with PLATFORM=google.",
    "GITHUB_TOKEN": "Each run gets a token of its own from the App: set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY.",
    "JWT_SECRET": "What signs run tokens is made at the first start, or is the secret run-token-key.",
    "NODE_ENV": "ENVIRONMENT says which deployment this is; agents do not inherit variables.",
    "OAUTH_SERVER_URL": "No server for signing in is used: callers have API keys.",
    "VITE_APP_LOGO": "Nothing here is built with Vite.",
    "VITE_APP_TITLE": "Nothing here is built with Vite.",
}
