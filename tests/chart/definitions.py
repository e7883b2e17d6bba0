"""Shapes that several values of the chart share: the ``$defs`` of its schema."""

from typing import Any

NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _keyed(each: dict[str, Any]) -> dict[str, Any]:
    """A map whose keys are those of labels and resources."""
    return {"type": "object", "additionalProperties": False, "patternProperties": {LABEL_KEY: each}}


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}


WHOLE = {"type": "integer", "minimum": 0}
REQUIREMENTS = {
    "type": "array",
    "items": _object(key={"type": "string"}, operator={"enum": ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]},
                     values={"type": "array", "items": {"type": "string"}}) | {"required": ["key", "operator"]},
}
SELECTOR = _object(matchLabels={"$ref": "#/$defs/labels"}, matchExpressions=REQUIREMENTS)
NODE_TERM = _object(matchExpressions=REQUIREMENTS, matchFields=REQUIREMENTS)
POD_TERM = _object(labelSelector=SELECTOR, namespaceSelector=SELECTOR, namespaces={"type": "array", "items": {"type": "string"}},
                   topologyKey={"type": "string"}) | {"required": ["topologyKey"]}


def _affinity(required: Any, preferred: Any) -> dict[str, Any]:
    return _object(requiredDuringSchedulingIgnoredDuringExecution=required,
                   preferredDuringSchedulingIgnoredDuringExecution={"type": "array", "items": preferred})


def _weighted(name: str, term: Any) -> dict[str, Any]:
    return _object(weight={"type": "integer", "minimum": 1, "maximum": 100}, **{name: term}) | {"required": ["weight", name]}


PODS = _affinity({"type": "array", "items": POD_TERM}, _weighted("podAffinityTerm", POD_TERM))
AMOUNTS = _keyed({"anyOf": [_text(QUANTITY), {"type": "number", "minimum": 0}]})

DEFINITIONS: dict[str, Any] = {
    "name": _text(f"^{NAME}$"),
    "optionalName": _text(f"^({NAME})?$"),
    "quantity": _text(QUANTITY),
    "optionalQuantity": _text(f"^$|{QUANTITY}"),
    "mountPath": _text(r"^(/[A-Za-z0-9._-]+)+$"),
    "strings": _keyed({"type": "string"}),
    "labels": _keyed(_text(LABEL_VALUE)),
    "resources": _object(requests=AMOUNTS, limits=AMOUNTS),
    "secret": _object(env=_text(r"^[A-Za-z_][A-Za-z0-9_]*$"), secret={"$ref": "#/$defs/name"}, key=_text(r"^[-._a-zA-Z0-9]{1,253}$"))
    | {"required": ["env", "secret", "key"]},
    "tolerations": {"type": "array", "items": _object(
        key={"type": "string"}, operator={"enum": ["Equal", "Exists"]}, value={"type": "string"},
        effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]}, tolerationSeconds=WHOLE)},
    "affinity": _object(
        nodeAffinity=_affinity(_object(nodeSelectorTerms={"type": "array", "minItems": 1, "items": NODE_TERM}),
                               _weighted("preference", NODE_TERM)),
        podAffinity=PODS, podAntiAffinity=PODS),
    "topologySpread": {"type": "array", "items": _object(
        maxSkew={"type": "integer", "minimum": 1}, minDomains={"type": "integer", "minimum": 1}, topologyKey={"type": "string"},
        whenUnsatisfiable={"enum": ["DoNotSchedule", "ScheduleAnyway"]}, labelSelector=SELECTOR,
        matchLabelKeys={"type": "array", "items": {"type": "string"}},
        nodeAffinityPolicy={"enum": ["Honor", "Ignore"]}, nodeTaintsPolicy={"enum": ["Honor", "Ignore"]},
    ) | {"required": ["maxSkew", "topologyKey", "whenUnsatisfiable"]}},
    "peers": {"type": "array", "items": _object(
        cidr=_text(r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"),
        ports={"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
    ) | {"required": ["cidr", "ports"]}},
}
GROUP_NAME = _text(r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$") | {"description": "name of the group; its pods carry it"}
