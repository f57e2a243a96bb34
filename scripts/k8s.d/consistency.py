#!/usr/bin/env python3
"""What no schema sees: whether the parts of a rendered overlay fit together.   consistency.py OVERLAY.YAML SNAPSHOT_OF_THE_CONFIGURATION"""
import pathlib
import re
import sys

import yaml

WORKLOADS = ("Deployment", "StatefulSet", "Job")
mistakes = []


def main(rendered, snapshot):
    # A value such as `=` is no tag of ours to resolve.
    things = [thing for thing in yaml.safe_load_all(pathlib.Path(rendered).read_text()) if thing]
    known = {"TERSE__" + key.replace(".", "__").upper() for key in re.findall(r'^  "([a-z_.0-9]+)": \{', pathlib.Path(snapshot).read_text(), re.M)}
    assert known, f"{snapshot} names no key"
    pods = [Pod(thing) for thing in things if thing["kind"] in WORKLOADS]
    configs = {(ns(thing), name(thing)): thing["data"] for thing in things if thing["kind"] == "ConfigMap"}
    assert pods, f"{rendered} runs nothing"
    for pod in pods:
        check_pod(pod)
        if pod.labels.get("app.kubernetes.io/name") == "terse":
            check_ours(pod, configs, known, things)
    for thing in things:
        kind = thing["kind"]
        if kind == "Service":
            check_service(thing, pods)
        elif kind in ("PodDisruptionBudget", "PodMonitor"):
            found = selected(thing["spec"]["selector"], ns(thing), pods)
            for endpoint in thing["spec"].get("podMetricsEndpoints", []):
                has_port(thing, endpoint["port"], [pod for pod in found if pod.kind != "Job"])
            found or say(thing, "selects no pod")
        elif kind == "HorizontalPodAutoscaler":
            target = thing["spec"]["scaleTargetRef"]
            scaled = [pod.thing for pod in pods if (pod.kind, name(pod.thing), pod.ns) == (target["kind"], target["name"], ns(thing))]
            scaled or say(thing, f"scales {target['name']}, which there is not")
            any("replicas" in one["spec"] for one in scaled) and say(thing, "what it scales sets replicas too: each apply would undo its work")
        elif kind == "NetworkPolicy":
            check_policy(thing, pods)
    for mistake in mistakes:
        print(f"{rendered}: {mistake}", file=sys.stderr)
    return bool(mistakes)


class Pod:
    def __init__(self, thing):
        template = thing["spec"]["template"]
        self.thing, self.kind, self.ns = thing, thing["kind"], ns(thing)
        self.labels, self.spec = template["metadata"]["labels"], template["spec"]
        self.containers = self.spec["containers"]
        self.ports = {port["name"]: port["containerPort"] for container in self.containers for port in container.get("ports", [])}


def ns(thing):
    return thing["metadata"].get("namespace")


def name(thing):
    return thing["metadata"]["name"]


def say(thing, what):
    mistakes.append(f"{thing['kind']} {name(thing)}: {what}")


def selected(selector, namespace, pods):
    def fits(pod):
        for key, value in selector.get("matchLabels", {}).items():
            if pod.labels.get(key) != value:
                return False
        for rule in selector.get("matchExpressions", []):
            if (pod.labels.get(rule["key"]) in rule["values"]) != (rule["operator"] == "In"):
                return False
        return pod.ns == namespace

    return [pod for pod in pods if fits(pod)]


def has_port(thing, port, pods):
    for pod in pods:
        if port not in pod.ports and port not in pod.ports.values():
            say(thing, f"there is no port {port} in {name(pod.thing)}")


def check_pod(pod):
    for container in pod.containers:
        _, _, tag = container["image"].rpartition("/")[2].partition(":")
        tag in ("", "latest") and say(pod.thing, f"{container['image']} has no version")
        resources = container.get("resources", {})
        ("memory" in resources.get("limits", {}) and {"cpu", "memory"} <= set(resources.get("requests", {}))) or say(
            pod.thing, "asks for no cpu and memory, or has no limit of memory")
    pod.spec.get("automountServiceAccountToken") is False or say(pod.thing, "has a token")
    pod.spec.get("enableServiceLinks") is False or say(pod.thing, "has service links")


def check_ours(pod, configs, known, things):
    container, spec = pod.containers[0], pod.spec
    security = spec.get("securityContext", {})
    (security.get("runAsNonRoot") and security.get("seccompProfile") == {"type": "RuntimeDefault"}) or say(pod.thing, "is not restricted")
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container.get("securityContext") == wanted or say(pod.thing, "its container is not restricted")
    any(thing["kind"] == "ServiceAccount" and name(thing) == spec["serviceAccountName"] for thing in things) or say(pod.thing, "has no account")
    settings = {}
    for source in container["envFrom"]:
        reference = source.get("configMapRef")
        if reference and (pod.ns, reference["name"]) not in configs:
            say(pod.thing, f"reads {reference['name']}, which there is not")
        settings |= configs.get((pod.ns, reference["name"]), {}) if reference else {}
    settings |= {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    for key in settings:
        # TERSE__CACHE_FILE names a file that holds TERSE__CACHE.
        key.startswith("TERSE__") and key.removesuffix("_FILE") not in known and say(pod.thing, f"{key} is no setting of Terse")
    for flag in container["args"]:
        key = re.match(r"--set=([a-z_.]+)=", flag)
        key and "TERSE__" + key[1].replace(".", "__").upper() not in known and say(pod.thing, f"{flag} is no setting of Terse")
    if pod.kind == "Job":
        return
    {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container) or say(pod.thing, "lacks a probe")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        for check in ("httpGet", "grpc"):
            check in container.get(probe, {}) and has_port(pod.thing, container[probe][check]["port"], [pod])
    grace = container["lifecycle"]["preStop"]["sleep"]["seconds"] + int(settings["TERSE__DRAIN_GRACE_S"])
    spec["terminationGracePeriodSeconds"] > grace or say(pod.thing, f"would be killed while it drains, {grace} s after it was told")
    for key, value in settings.items():
        match = re.fullmatch(r"([a-z-]+):(\d+)", str(value)) if key.startswith("TERSE__SERVICES__") else None
        if match and not any(thing["kind"] == "Service" and name(thing) == match[1] and ns(thing) == pod.ns
                             and any(port["port"] == int(match[2]) for port in thing["spec"]["ports"]) for thing in things):
            say(pod.thing, f"{key}={value} leads to no Service")


def check_service(service, pods):
    found = selected({"matchLabels": service["spec"]["selector"]}, ns(service), pods)
    found or say(service, "selects no pod")
    for port in service["spec"]["ports"]:
        has_port(service, port.get("targetPort", port["port"]), found)


def check_policy(policy, pods):
    """Of pods that are here; those that operators make are not."""
    ours = selected(policy["spec"]["podSelector"], ns(policy), pods)
    labels = policy["spec"]["podSelector"].get("matchLabels", {})
    labels.get("app.kubernetes.io/name") == "terse" and not ours and say(policy, "selects no pod")
    for rule in policy["spec"].get("ingress", []):
        for port in rule.get("ports", []):
            has_port(policy, port["port"], [pod for pod in ours if pod.kind != "Job"])
    for rule in policy["spec"].get("egress", []):
        for peer in rule["to"]:
            if "podSelector" in peer and "namespaceSelector" not in peer:
                found = selected(peer["podSelector"], ns(policy), pods)
                found or say(policy, f"leads to no pod: {peer['podSelector']}")
                for port in rule["ports"]:
                    has_port(policy, port["port"], found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
