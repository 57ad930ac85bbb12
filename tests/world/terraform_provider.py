"""A provider for the real Terraform with the published schema of hashicorp/google and an imaginary cloud behind it.

Terraform is pointed at it with TF_REATTACH_PROVIDERS, so nothing is installed and no certificate is needed. It finds what
the schema knows: unknown resources, arguments and blocks, wrong types, what is missing, how often a block may appear. It does
not know allowed values, conflicts or permissions. Protocol: tfplugin6.proto in
https://github.com/hashicorp/terraform/tree/main/docs/plugin-protocol (field numbers are theirs).
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import grpc
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "google_provider_schema.json"
ADDRESS = "registry.terraform.io/hashicorp/google"
PROJECT_NUMBER = "123456789012"

# message: {field: (number, type)}; a leading * repeats it; maps are repeated entries, as on the wire
MESSAGES = {
    "Nothing": {},
    "Value": {"msgpack": (1, "bytes"), "json": (2, "bytes")},
    "Attribute": {
        "name": (1, "string"),
        "type": (2, "bytes"),
        "required": (4, "bool"),
        "optional": (5, "bool"),
        "computed": (6, "bool"),
        "sensitive": (7, "bool"),
    },
    "NestedBlock": {
        "type_name": (1, "string"),
        "block": (2, "Block"),
        "nesting": (3, "int64"),
        "min_items": (4, "int64"),
        "max_items": (5, "int64"),
    },
    "Block": {"version": (1, "int64"), "attributes": (2, "*Attribute"), "block_types": (3, "*NestedBlock")},
    "Schema": {"version": (1, "int64"), "block": (2, "Block")},
    "SchemaEntry": {"key": (1, "string"), "value": (2, "Schema")},
    "Schemas": {
        "provider": (1, "Schema"),
        "resource_schemas": (2, "*SchemaEntry"),
        "data_source_schemas": (3, "*SchemaEntry"),
    },
    "RawState": {"json": (1, "bytes")},
    "UpgradeRequest": {"type_name": (1, "string"), "raw_state": (3, "RawState")},
    "FirstValue": {"value": (1, "Value")},
    "ReadRequest": {"type_name": (1, "string"), "value": (2, "Value")},
    "PlanRequest": {"type_name": (1, "string"), "prior": (2, "Value"), "proposed": (3, "Value")},
    "PlanAnswer": {"planned": (1, "Value"), "legacy_type_system": (5, "bool")},
    "ApplyRequest": {"type_name": (1, "string"), "prior": (2, "Value"), "planned": (3, "Value")},
    "ApplyAnswer": {"new_state": (1, "Value"), "legacy_type_system": (4, "bool")},
}
NESTING = {"single": 1, "list": 2, "set": 3}
UNKNOWN = msgspec.msgpack.Ext(0, b"\x00")
_TYPES = {"bytes": 12, "string": 9, "bool": 8, "int64": 3}


@cache
def messages():
    """The message classes by name."""
    file = descriptor_pb2.FileDescriptorProto(name="provider.proto", package="stub", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            bare = kind.lstrip("*")
            entry = message.field.add(name=field_name, number=number, label=3 if kind.startswith("*") else 1)
            entry.type = _TYPES.get(bare, 11)
            if entry.type == 11:
                entry.type_name = f".stub.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"stub.{name}")) for name in MESSAGES}


def published():
    """The schema as ``terraform providers schema -json`` prints it, for the resources that are used."""
    return json.loads(SCHEMA.read_text())["provider_schemas"][ADDRESS]


@dataclass
class Provider:
    """``applied``: what each apply received, as (type, value); destroying is (type, None)."""

    applied: list = field(default_factory=list)
    schema: dict = field(default_factory=published)

    def __enter__(self):
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        self._server.add_generic_rpc_handlers([self._handlers()])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(grace=None).wait()

    def reattach(self, pid):
        """The value of TF_REATTACH_PROVIDERS."""
        where = {"Network": "tcp", "String": f"127.0.0.1:{self.port}"}
        return json.dumps(
            {ADDRESS: {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": pid, "Test": True, "Addr": where}}
        )

    def _handlers(self):
        kinds = messages()
        table = {
            "GetProviderSchema": (self._schemas, "Nothing", "Schemas"),
            "ValidateProviderConfig": (self._nothing, "Nothing", "Nothing"),
            "ValidateResourceConfig": (self._nothing, "Nothing", "Nothing"),
            "ValidateDataResourceConfig": (self._nothing, "Nothing", "Nothing"),
            "ConfigureProvider": (self._nothing, "Nothing", "Nothing"),
            "UpgradeResourceState": (self._upgrade, "UpgradeRequest", "FirstValue"),
            "ReadResource": (self._read, "ReadRequest", "FirstValue"),
            "PlanResourceChange": (self._plan, "PlanRequest", "PlanAnswer"),
            "ApplyResourceChange": (self._apply, "ApplyRequest", "ApplyAnswer"),
            "ReadDataSource": (self._look_up, "ReadRequest", "FirstValue"),
            "StopProvider": (self._nothing, "Nothing", "Nothing"),
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                handler, kinds[request].FromString, kinds[answer].SerializeToString
            )
            for name, (handler, request, answer) in table.items()
        }
        return grpc.method_handlers_generic_handler("tfplugin6.Provider", methods)

    def _schemas(self, request, context):
        def entries(kind):
            return [{"key": name, "value": _schema(schema)} for name, schema in self.schema[kind].items()]

        return messages()["Schemas"](
            provider=_schema(self.schema["provider"]),
            resource_schemas=entries("resource_schemas"),
            data_source_schemas=entries("data_source_schemas"),
        )

    def _nothing(self, request, context):
        return messages()["Nothing"]()

    def _upgrade(self, request, context):
        return messages()["FirstValue"](value=_encode(json.loads(request.raw_state.json)))

    def _read(self, request, context):
        return messages()["FirstValue"](value=request.value)

    def _plan(self, request, context):
        planned = _decode(request.proposed)
        if planned is not None:
            for name, attribute in self._attributes(request.type_name).items():
                if planned.get(name) is None and _filled_in(name, attribute):
                    planned[name] = UNKNOWN
        return messages()["PlanAnswer"](planned=_encode(planned), legacy_type_system=True)

    def _apply(self, request, context):
        value = _decode(request.planned)
        self.applied.append((request.type_name, value))
        if value is not None:
            for name, attribute in self._attributes(request.type_name).items():
                if _is_unknown(value.get(name)):
                    value[name] = _made_up(request.type_name, name, attribute["type"], value)
        return messages()["ApplyAnswer"](new_state=_encode(value), legacy_type_system=True)

    def _look_up(self, request, context):
        value = _decode(request.value)
        for name, attribute in self.schema["data_source_schemas"][request.type_name]["block"]["attributes"].items():
            if value.get(name) is None and _filled_in(name, attribute):
                value[name] = _made_up(request.type_name, name, attribute["type"], value)
        return messages()["FirstValue"](value=_encode(value))

    def _attributes(self, type_name):
        return self.schema["resource_schemas"][type_name]["block"]["attributes"]


def _schema(schema):
    return {"version": schema.get("version", 0), "block": _block(schema["block"])}


def _block(block):
    attributes = [
        {
            "name": name,
            "type": json.dumps(attribute["type"]).encode(),
            "required": attribute.get("required", False),
            "optional": attribute.get("optional", False),
            "computed": _filled_in(name, attribute),
            "sensitive": attribute.get("sensitive", False),
        }
        for name, attribute in block.get("attributes", {}).items()
    ]
    nested = [
        {
            "type_name": name,
            "block": _block(inner["block"]),
            "nesting": NESTING[inner["nesting_mode"]],
            "min_items": inner.get("min_items", 0),
            "max_items": inner.get("max_items", 0),
        }
        for name, inner in block.get("block_types", {}).items()
    ]
    return {"attributes": attributes, "block_types": nested}


def _filled_in(name, attribute):
    """Whether the cloud says what it is; the published schema has only ``optional`` for ids."""
    return attribute.get("computed", False) or (name == "id" and not attribute.get("required", False))


def _made_up(kind, name, shape, value):
    """What the imaginary cloud fills in."""
    label = next(
        (value[key] for key in ("name", "account_id", "role_id", "secret_id", "project_id") if _known(value.get(key))),
        kind,
    )
    email = f"{value.get('account_id')}@example-project.iam.gserviceaccount.com"
    special = {
        "email": email,
        "member": f"serviceAccount:{email}",
        "number": PROJECT_NUMBER,
        "name": f"projects/example-project/serviceAccounts/{email}"
        if kind == "google_service_account"
        else f"{kind}/{label}",
        "id": f"projects/example-project/{kind.removeprefix('google_')}/{label}",
    }
    match shape:
        case "string":
            return special.get(name, f"{name}-of-{label}")
        case "number":
            return 1
        case "bool":
            return False
        case ["map", _]:
            return {}
        case _:
            return []


def _known(value):
    return isinstance(value, str) and value


def _is_unknown(value):
    return isinstance(value, msgspec.msgpack.Ext)


def _decode(value):
    return msgspec.msgpack.decode(value.msgpack)


def _encode(value):
    return {"msgpack": msgspec.msgpack.encode(value)}
