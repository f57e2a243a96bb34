#!/usr/bin/env python3
"""Writes the JSON schemas of k8s/schemas anew, from the descriptions that Kubernetes and the operators publish.

  schemas.py swagger SWAGGER.JSON VERSION     the kinds of Kubernetes in KINDS, and what they consist of
  schemas.py crd FILE.YAML KIND …              kinds of a file of CustomResourceDefinitions

They say what is known and nothing else: a field that no description names is refused. Where they came from: k8s/schemas/README.md.
"""
import json
import pathlib
import re
import sys

OUT = pathlib.Path(__file__).resolve().parents[2] / "k8s" / "schemas"
KINDS = [
    "io.k8s.api.core.v1." + kind for kind in ("ConfigMap", "Namespace", "PersistentVolume", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount")
] + [
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.networking.v1.NetworkPolicy",
]
# What no manifest of ours may contain, and everything below it.
LEFT_OUT = {"status", "managedFields"}
META = {"$ref": "kubernetes.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
EITHER = {"type": ["string", "integer"]}


def strict(node):
    """Without prose, and with every object closed."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string") or node.get("format") == "int-or-string":
        return EITHER
    kept = {}
    for name, value in node.items():
        if name == "properties":
            kept[name] = {field: strict(schema) for field, schema in value.items() if field not in LEFT_OUT}
        elif name in ("required", "enum"):
            kept[name] = value
        elif name == "$ref":
            kept[name] = value.replace("#/definitions/", "kubernetes.json#/definitions/")
        elif name in ("type", "items", "additionalProperties", "allOf", "anyOf", "oneOf", "not", "pattern", "minimum", "maximum", "minLength",
                      "maxLength", "minItems", "maxItems", "nullable"):
            kept[name] = strict(value)
    if kept.pop("nullable", False) and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    open_ended = node.get("x-kubernetes-preserve-unknown-fields")
    if kept.get("properties") and "additionalProperties" not in kept and not open_ended:
        kept["additionalProperties"] = False
    return kept


def closure(definitions, roots):
    found, todo = {}, list(roots)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found[name] = strict(definitions[name])
        todo += re.findall(r'kubernetes\.json#/definitions/([^"]+)', json.dumps(found[name]))
    return dict(sorted(found.items()))


def write(name, schema):
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    # One definition a line, so that a difference can be read.
    if "definitions" in schema:
        lines = (json.dumps(key) + ":" + json.dumps(value, separators=(",", ":"), sort_keys=True) for key, value in schema["definitions"].items())
        text = '{"definitions":{\n' + ",\n".join(lines) + "\n}}"
    (OUT / name).write_text(text + "\n")


def swagger(path, version):
    definitions = json.loads(pathlib.Path(path).read_text())["definitions"]
    found = closure(definitions, KINDS)
    # Written as strings or as numbers.
    found["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    write("kubernetes.json", {"definitions": found})
    for name in KINDS:
        known = definitions[name]["x-kubernetes-group-version-kind"][0]
        api = "/".join(part for part in (known["group"], known["version"]) if part)
        kind_is = {"properties": {"apiVersion": {"const": api}, "kind": {"const": known["kind"]}}}
        write(file_name(known["group"], known["version"], known["kind"]),
              {"allOf": [{"$ref": f"kubernetes.json#/definitions/{name}"}, kind_is], "required": ["apiVersion", "kind", "metadata"]})
    (OUT / "VERSION").write_text(version + "\n")


def file_name(group, version, kind):
    """As `kubeconform -schema-location …/{{.ResourceKind}}{{.KindSuffix}}.json` looks for it."""
    return "-".join([kind.lower()] + ([group.split(".")[0]] if group else []) + [version]) + ".json"


def crd(path, kinds):
    import yaml

    for document in yaml.safe_load_all(pathlib.Path(path).read_text()):
        if not document or document["spec"]["names"]["kind"] not in kinds:
            continue
        spec = document["spec"]
        version = next(version for version in spec["versions"] if version.get("storage"))
        schema = strict(version["schema"]["openAPIV3Schema"])
        kind = spec["names"]["kind"]
        schema["properties"] |= {"apiVersion": {"const": f"{spec['group']}/{version['name']}"}, "kind": {"const": kind}, "metadata": META}
        schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
        write(file_name(spec["group"], version["name"], kind), schema)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    match sys.argv[1:]:
        case ["swagger", path, version]:
            swagger(path, version)
        case ["crd", path, *kinds] if kinds:
            crd(path, kinds)
        case _:
            sys.exit(__doc__)
