"""One Google API as its client package describes it: methods, message classes, gRPC paths and REST routes are read from the
package's own transports, the behaviour is an object with a coroutine per method.

Every call is written down, asks who calls (by access token) and whether that identity may, and can be told to fail or to be
slow. ``after=True`` fails a call when it has done its work: the answer that gets lost.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.api_core import exceptions as google
from google.iam.v1 import iam_policy_pb2
from google.protobuf import json_format

_PART = re.compile(r"\{(\w+(?:\.\w+)*)=([^}]*)\}")


@dataclass(frozen=True)
class Call:
    method: str
    request: Any
    caller: str


@dataclass
class Fault:
    error: Exception
    times: int
    after: bool


@dataclass
class Method:
    """``name``: snake_case; ``routes``: (verb, pattern, body field) of REST."""

    name: str
    path: str
    request: Any
    encode: Callable[[Any], bytes]
    routes: list[tuple[str, re.Pattern[str], str | None]] = field(default_factory=list)

    def decode(self, data: bytes) -> Any:
        if hasattr(self.request, "deserialize"):
            return self.request.deserialize(data)
        return self.request.FromString(data)

    def parse(self, document: dict[str, Any]) -> Any:
        plain = self.request.pb() if hasattr(self.request, "pb") and callable(self.request.pb) else None
        if plain is not None:
            message = self.request()
            json_format.ParseDict(document, type(message).pb(message), ignore_unknown_fields=False)
            return message
        return json_format.ParseDict(document, self.request())


class Api:
    """``handlers`` has a coroutine function per method that is supported; ``check(caller, permission, resource)`` raises."""

    def __init__(self, handlers: Any, transport: type, rest_base: Any) -> None:
        self.handlers = handlers
        self.calls: list[Call] = []
        self.delays: defaultdict[str, float] = defaultdict(float)
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.who: Callable[[str], str] = lambda token: token
        self.methods = {method.name: method for method in _methods(transport, rest_base, handlers)}

    def fail(self, method: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        self.faults[method].append(Fault(error, times, after))

    def called(self, method: str) -> list[Any]:
        return [call.request for call in self.calls if call.method == method]

    async def answer(self, method: Method, request: Any, authorization: str) -> Any:
        caller = self.who(authorization)
        self.calls.append(Call(method.name, request, caller))
        if self.delays[method.name]:
            await asyncio.sleep(self.delays[method.name])
        fault = self._fault(method.name)
        if fault is not None and not fault.after:
            raise fault.error
        response = await getattr(self.handlers, method.name)(request, caller)
        if fault is not None:
            raise fault.error
        return response

    def _fault(self, method: str) -> Fault | None:
        waiting = self.faults[method]
        if not waiting:
            return None
        waiting[0].times -= 1
        return waiting[0] if waiting[0].times else waiting.popleft()

    def find_route(self, verb: str, path: str) -> tuple[Method, dict[str, str], str | None] | None:
        for method in self.methods.values():
            for routed_verb, pattern, body in method.routes:
                match = pattern.fullmatch(path) if routed_verb == verb else None
                if match:
                    return method, {key.replace("__", "."): value for key, value in match.groupdict().items()}, body
        return None


class _Recorder:
    """In place of a channel: learns which methods there are."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[Any, Any]] = {}
        self._unary_unary_interceptors: list[Any] = []

    def unary_unary(self, path: str, request_serializer: Any = None, response_deserializer: Any = None) -> Any:
        self.seen[path] = (request_serializer, response_deserializer)
        return lambda *_, **__: None


_IAM = {
    "test_iam_permissions": iam_policy_pb2.TestIamPermissionsRequest,
    "get_iam_policy": iam_policy_pb2.GetIamPolicyRequest,
}


def _methods(transport: type, rest_base: Any, handlers: Any) -> list[Method]:
    found = []
    for name, member in inspect.getmembers(transport):
        if not isinstance(member, property) or not hasattr(handlers, name):
            continue
        recorder = _Recorder()
        instance = object.__new__(transport)
        instance._stubs, instance._logged_channel = {}, recorder
        getattr(instance, name)
        ((path, (serializer, _)),) = recorder.seen.items()
        request = _IAM.get(name) or serializer.__self__
        found.append(Method(name, path, request, encode, _routes(rest_base, name)))
    return found


def _routes(rest_base: Any, name: str) -> list[tuple[str, re.Pattern[str], str | None]]:
    camel = "".join(part.capitalize() for part in name.split("_"))
    holder = next(
        (
            getattr(cls, f"_Base{camel}")
            for _, cls in inspect.getmembers(rest_base, inspect.isclass)
            if hasattr(cls, f"_Base{camel}")
        ),
        None,
    )
    options = holder._get_http_options() if holder else []
    return [(option["method"].upper(), _pattern(option["uri"]), option.get("body")) for option in options]


def _pattern(uri: str) -> re.Pattern[str]:
    text, last = "", 0
    for match in _PART.finditer(uri):
        text += re.escape(uri[last : match.start()])
        inner = re.escape(match[2]).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
        text += f"(?P<{match[1].replace('.', '__')}>{inner})"
        last = match.end()
    return re.compile(text + re.escape(uri[last:]))


def encode(message: Any) -> bytes:
    plain = type(message).pb(message) if hasattr(type(message), "pb") else message
    return plain.SerializeToString()


def to_json(message: Any) -> dict[str, Any]:
    plain = type(message).pb(message) if hasattr(type(message), "pb") else message
    return json_format.MessageToDict(plain)


class Grpc(grpc.GenericRpcHandler):
    """All methods of some APIs on one gRPC server."""

    def __init__(self, apis: list[Api]) -> None:
        self._methods = {method.path: (api, method) for api in apis for method in api.methods.values()}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        found = self._methods.get(details.method)
        if found is None:
            return None
        api, method = found
        metadata = dict(details.invocation_metadata or ())

        async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
            try:
                return await api.answer(method, request, str(metadata.get("authorization", "")))
            except google.GoogleAPICallError as error:
                await context.abort(error.grpc_status_code or grpc.StatusCode.UNKNOWN, error.message)

        return grpc.unary_unary_rpc_method_handler(handle, method.decode, method.encode)


async def rest(
    apis: list[Api], verb: str, path: str, *, query: dict[str, str], body: bytes, authorization: str
) -> tuple[int, dict[str, Any]]:
    """The REST half: status and JSON."""
    for api in apis:
        found = api.find_route(verb, path)
        if found is None:
            continue
        method, named, body_field = found
        try:
            document = _document(named, query, body, body_field)
            request = method.parse(document)
            return 200, to_json(await api.answer(method, request, authorization))
        except google.GoogleAPICallError as error:
            return int(error.code or 500), _problem(error)
        except (json_format.ParseError, ValueError) as error:
            return 400, _problem(google.InvalidArgument(str(error)))
    return 404, _problem(google.NotFound(f"{verb} {path}"))


def _problem(error: google.GoogleAPICallError) -> dict[str, Any]:
    status = error.grpc_status_code.name if error.grpc_status_code else "UNKNOWN"
    return {"error": {"code": int(error.code or 500), "message": error.message, "status": status}}


def _document(named: dict[str, str], query: dict[str, str], body: bytes, body_field: str | None) -> dict[str, Any]:
    content = json.loads(body) if body else {}
    document: dict[str, Any] = content if body_field == "*" else {body_field: content} if body_field else {}
    for name, value in {**{k: v for k, v in query.items() if k not in {"alt", "prettyPrint", "$alt"}}, **named}.items():
        place = document
        *parents, last = name.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return document
