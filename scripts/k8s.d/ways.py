#!/usr/bin/env python3
"""Who may talk to whom, by all NetworkPolicies of a rendered overlay together, one way a line: FROM > TO PORT.   ways.py OVERLAY.YAML"""
import pathlib
import sys

import yaml


def fits(selector, labels):
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all((labels.get(rule["key"]) in rule["values"]) == (rule["operator"] == "In") for rule in selector.get("matchExpressions", []))


def is_peer(peers, labels):
    """No peers: anybody. Peers elsewhere are not among the pods here."""
    return peers is None or any("podSelector" in peer and "namespaceSelector" not in peer and fits(peer["podSelector"], labels) for peer in peers)


def opens(policies, direction, key, subject, other, numbers):
    """Whether `subject` may talk with `other` by one of the names or numbers of a port; who is selected by no policy may."""
    selecting = [spec for spec in policies if direction in spec["policyTypes"] and fits(spec["podSelector"], subject)]
    rules = [rule for spec in selecting for rule in spec.get(direction.lower(), [])]
    return not selecting or any(is_peer(rule.get(key), other) and ("ports" not in rule or any(port["port"] in numbers for port in rule["ports"])) for rule in rules)


def main(rendered):
    things = [thing for thing in yaml.safe_load_all(pathlib.Path(rendered).read_text()) if thing]
    policies = [thing["spec"] for thing in things if thing["kind"] == "NetworkPolicy"]
    pods = {}
    for thing in things:
        if thing["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = thing["spec"]["template"]
            ports = [port for container in template["spec"]["containers"] for port in container.get("ports", [])]
            pods[thing["metadata"]["name"]] = (template["metadata"]["labels"], ports)
    elsewhere = ("elsewhere", ({}, []))
    ways = set()
    for name, (labels, _) in [*pods.items(), elsewhere]:
        for other, (other_labels, ports) in pods.items():
            for port in ports:
                numbers = {port["name"], port["containerPort"]}
                out = name == "elsewhere" or opens(policies, "Egress", "to", labels, other_labels, numbers)
                if out and opens(policies, "Ingress", "from", other_labels, labels, numbers):
                    ways.add(f"{name} > {other} {port['containerPort']}")
    for name, (labels, _) in pods.items():
        for spec in policies:
            if "Egress" in spec["policyTypes"] and fits(spec["podSelector"], labels):
                for rule in spec.get("egress", []):
                    for peer in rule["to"]:
                        if "namespaceSelector" in peer or "ipBlock" in peer:
                            place = peer.get("ipBlock", {}).get("cidr") or peer["podSelector"]["matchLabels"].get("k8s-app")
                            ways |= {f"{name} > {place} {port['port']}" for port in rule["ports"]}
    print("\n".join(sorted(ways)))


if __name__ == "__main__":
    main(sys.argv[1])
