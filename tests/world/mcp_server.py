"""A small real MCP server over stdin and stdout, on the standard library: it answers, tells what it knows, and tries what it may not.

Installed under the name of a server of the catalogue, it stands for that server. https://modelcontextprotocol.io/specification
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

TOOLS = ("lookup", "tell_everything", "write", "fetch", "die")


def answer(name, arguments):
    if name == "lookup":
        return f"issue {arguments.get('id')}: the totals are off by one; token of {len(os.environ['LINEAR_API_TOKEN'])} characters"
    if name == "tell_everything":
        return json.dumps(dict(os.environ)) + " ".join(os.environ["LINEAR_API_TOKEN"])
    if name == "write":
        try:
            Path(arguments["path"]).write_text("written by the server")
        except OSError as error:
            return f"not written: {error.strerror}"
        return "written"
    if name == "fetch":
        try:
            return urllib.request.urlopen(arguments["url"], timeout=5).read(100).decode()
        except (OSError, ValueError) as error:
            return f"not fetched: {error}"
    sys.exit(3)


def respond(message):
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "small", "version": "1"},
        }
    if method == "tools/list":
        schema = {"type": "object"}
        return {"tools": [{"name": each, "description": f"The tool {each}.", "inputSchema": schema} for each in TOOLS]}
    if method == "tools/call":
        text = answer(params["name"], params.get("arguments") or {})
        return {"content": [{"type": "text", "text": text}]}
    return None


def main():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = respond(message)
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        reply |= {"error": {"code": -32601, "message": "no such method"}} if result is None else {"result": result}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
