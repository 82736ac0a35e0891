"""``deploy/kubernetes``: sound by Kubernetes' own schemas, and what its parts name is there.

KEDA's two kinds have no schema in a package: theirs here is of the fields that KEDA documents.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from app.main import create_app
from app.settings import ServerSettings
from tests.support import ROOT
from worker.data import DataDirectory
from worker.queue import queue_name
from worker.settings import checked_storage

KUBERNETES = ROOT / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.30", "1.34"
OURS = ("redis", "server", "worker")

_OBJECT = {"type": "object", "additionalProperties": False}
_NAMED = _OBJECT | {"properties": {"name": {"type": "string"}}, "required": ["name"]}
_WHOLE = {"type": "integer", "minimum": 0}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
KEDA = {
    "TriggerAuthentication": _OBJECT
    | {
        "properties": {
            "secretTargetRef": {
                "type": "array",
                "items": _OBJECT
                | {
                    "properties": {k: {"type": "string"} for k in ("parameter", "name", "key")},
                    "required": ["parameter", "name", "key"],
                },
            }
        }
    },
    "ScaledObject": _OBJECT
    | {
        "properties": {
            "scaleTargetRef": _NAMED,
            "minReplicaCount": _WHOLE,
            "maxReplicaCount": _WHOLE,
            "pollingInterval": _WHOLE,
            "cooldownPeriod": _WHOLE,
            "advanced": _OBJECT
            | {
                "properties": {
                    "scalingModifiers": _OBJECT
                    | {
                        "properties": {
                            k: {"type": "string"}
                            for k in ("formula", "target", "activationTarget", "metricType")
                        },
                        "required": ["formula", "target"],
                    },
                    # As in a HorizontalPodAutoscaler, by whose schema it is checked.
                    "horizontalPodAutoscalerConfig": _OBJECT
                    | {"properties": {"behavior": {"type": "object"}}},
                }
            },
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": _OBJECT
                | {
                    "properties": {
                        "type": {"const": "redis"},
                        "name": {"type": "string"},
                        "metadata": _TEXTS,
                        "authenticationRef": _NAMED,
                    },
                    "required": ["type", "name", "metadata", "authenticationRef"],
                },
            },
        },
        "required": ["scaleTargetRef", "triggers"],
    },
}


def load(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path))


def base() -> dict[tuple[str, str], dict[str, Any]]:
    """Every object by its kind and name."""
    (kustomization,) = load(KUBERNETES / "base" / "kustomization.yaml")
    found = {}
    for name in kustomization["resources"]:
        for item in load(KUBERNETES / "base" / name):
            found[item["kind"], item["metadata"]["name"]] = item
    return found


BASE = base()
(KUSTOMIZATION,) = load(KUBERNETES / "base" / "kustomization.yaml")


def check(item: dict[str, Any]) -> None:
    if item["kind"] not in KEDA:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(item, version, strict=True)
        return
    jsonschema.validate(item["spec"], KEDA[item["kind"]])
    assert item["apiVersion"] == "keda.sh/v1alpha1"


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for (kind, name), item in BASE.items():
        if kind in ("Deployment", "StatefulSet"):
            yield name, item["spec"]["template"]


def container(name: str) -> dict[str, Any]:
    (found,) = dict(pods())[name]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("key", BASE, ids="/".join)
def test_each_object_is_sound(key: tuple[str, str]) -> None:
    check(BASE[key])


def test_the_schemas_find_what_is_misspelt() -> None:
    item = BASE["Deployment", "server"]
    wrong = item | {"spec": item["spec"] | {"replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(wrong)
    scaled = BASE["ScaledObject", "worker"]
    with pytest.raises(jsonschema.ValidationError):
        check(scaled | {"spec": scaled["spec"] | {"maxReplicas": 1}})


def test_keda_scales_as_a_horizontal_pod_autoscaler_may() -> None:
    advanced = BASE["ScaledObject", "worker"]["spec"]["advanced"]
    behaviour = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    scaler = BASE["HorizontalPodAutoscaler", "server"]
    check(scaler | {"spec": scaler["spec"] | {"behavior": behaviour}})


def merged(item: Any, patch: Any) -> Any:
    """As kustomize merges: lists of things with names by these, other lists are replaced."""
    if isinstance(item, dict) and isinstance(patch, dict):
        both = item | {k: merged(item[k], v) if k in item else v for k, v in patch.items()}
        return {key: value for key, value in both.items() if value is not None}
    if isinstance(item, list) and isinstance(patch, list) and "name" in patch[0]:
        named = {part["name"]: part for part in patch}
        kept = [merged(part, named.pop(part["name"], {})) for part in item]
        return kept + list(named.values())
    return patch


def test_the_overlay_for_gpus_is_sound() -> None:
    (overlay,) = load(KUBERNETES / "gpu" / "kustomization.yaml")
    assert (KUBERNETES / "gpu" / overlay["resources"][0]).resolve() == KUBERNETES / "base"
    for entry in overlay["patches"]:
        for patch in load(KUBERNETES / "gpu" / entry["path"]):
            found = merged(BASE[patch["kind"], patch["metadata"]["name"]], patch)
            check(found)
            spec = found["spec"]["template"]["spec"]
            (one,) = spec["containers"]
            assert one["resources"]["limits"]["nvidia.com/gpu"] == 1
            assert one["image"] in {image["name"] for image in overlay["images"]}
            # All else as in the base, such as threads for each core that it has.
            for part in ("env", "envFrom", "securityContext"):
                assert one[part] == container("worker")[part]


def test_the_overlay_for_a_bucket_is_sound() -> None:
    """Servers and workers get the same bucket, and a disk each."""
    (overlay,) = load(KUBERNETES / "bucket" / "kustomization.yaml")
    assert (KUBERNETES / "bucket" / overlay["resources"][0]).resolve() == KUBERNETES / "base"
    found = {}
    for entry in overlay["patches"]:
        for patch in load(KUBERNETES / "bucket" / entry["path"]):
            key = patch["kind"], patch["metadata"]["name"]
            found[key] = merged(BASE[key], patch)
    claim = found.pop(("PersistentVolumeClaim", "charloom-data"))
    assert claim["$patch"] == "delete"
    for item in found.values():
        check(item)
    for name in ("server", "worker"):
        spec = found["Deployment", name]["spec"]["template"]["spec"]
        (volume,) = (one for one in spec["volumes"] if one["name"] == "data")
        assert volume.keys() == {"name", "emptyDir"}
        (one,) = spec["containers"]
        given = {entry["name"] for entry in one["env"]}
        assert given >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CHARLOOM_REDIS_URL"}
    (policy,) = (item for (kind, _), item in found.items() if kind == "NetworkPolicy")
    before = BASE["NetworkPolicy", "to-redis"]["spec"]["egress"]
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {443} | {port["port"] for rule in before for port in rule["ports"]}
    (settings,) = overlay["configMapGenerator"]
    assert settings["behavior"] == "merge"
    url = settings["literals"][0].removeprefix("CHARLOOM_STORAGE=")
    assert checked_storage(url) == url


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
@pytest.mark.parametrize("name", ["base", "gpu", "bucket"])
def test_what_kustomize_makes_is_sound(name: str) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / name], check=True, capture_output=True, timeout=60
    ).stdout
    found = list(YAML(typ="safe").load_all(made))
    for item in found:
        check(item)
    (scaled,) = (item for item in found if item["kind"] == "ScaledObject")
    address, *queues = counted()
    for trigger, queue in zip(scaled["spec"]["triggers"], queues, strict=True):
        assert trigger["metadata"]["address"] == address
        assert trigger["metadata"]["listName"] == queue


def test_the_pod_that_restores_is_like_a_server_without_one() -> None:
    (pod,) = load(KUBERNETES / "restore.yaml")
    check(pod)
    (own,) = pod["spec"]["containers"]
    server = dict(pods())["server"]["spec"]
    for part in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert pod["spec"][part] == server[part]
    assert own["securityContext"] == container("server")["securityContext"]
    assert server["volumes"][0] in pod["spec"]["volumes"]
    assert container("server")["volumeMounts"][0] in own["volumeMounts"]
    (image,) = KUSTOMIZATION["images"]
    assert own["image"] == f"{image['newName']}:{image['newTag']}"


def test_what_is_needed_of_kubernetes_is_told() -> None:
    """``preStop.sleep``, and KEDA's formulas."""
    told = f"Kubernetes {OLDEST} and KEDA 2.12"
    for path in (KUBERNETES / "base" / "kustomization.yaml", ROOT / "docs" / "operations.md"):
        assert told in path.read_text()


# What the parts name


STORE_ID = "charloom"
"""What the pods write into an empty volume."""


def test_an_empty_volume_gets_the_id_that_the_queue_is_named_after(tmp_path: Path) -> None:
    for name in ("server", "worker"):
        (init,) = BASE["Deployment", name]["spec"]["template"]["spec"]["initContainers"]
        folder = tmp_path / name
        folder.mkdir()
        command = [part.replace("/data", str(folder)) for part in init["command"]]
        # What a cut left, and another pod reads.
        (folder / "store-id").touch()
        (folder / "read").hardlink_to(folder / "store-id")
        subprocess.run(command, check=True)
        assert DataDirectory(folder).store_id() == STORE_ID
        assert (folder / "read").read_text() == ""
        assert {path.name for path in folder.iterdir()} == {"read", "store-id"}
        (folder / "store-id").write_text("another")
        subprocess.run(command, check=True)
        assert DataDirectory(folder).store_id() == "another"


def counted() -> Iterator[str]:
    """Redis's address and the keys of the queue, as the base has them in its one place for them."""
    (literals,) = (
        generated["literals"]
        for generated in KUSTOMIZATION["configMapGenerator"]
        if generated["name"] == "queue"
    )
    for literal in literals:
        yield literal.partition("=")[2]


def test_keda_counts_the_jobs_that_wait_and_those_that_are_trained() -> None:
    address, waiting, running = counted()
    # KEDA is in a namespace of its own, where no name without one is found.
    explained = (KUBERNETES / "base" / "kustomization.yaml").read_text()
    namespace = explained.partition("create namespace ")[2].split()[0]
    (port,) = BASE["Service", "redis"]["spec"]["ports"]
    assert address == f"redis.{namespace}.svc:{port['port']}"
    queue = queue_name(STORE_ID)
    assert (waiting, running) == (f"rq:queue:{queue}", f"rq:wip:{queue}")
    spec = BASE["ScaledObject", "worker"]["spec"]
    names = [trigger["name"] for trigger in spec["triggers"]]
    assert spec["advanced"]["scalingModifiers"]["formula"] == " + ".join(names)
    replaced = [one["targets"][0]["fieldPaths"][0] for one in KUSTOMIZATION["replacements"]]
    assert replaced == [
        "spec.triggers.*.metadata.address",
        *(f"spec.triggers.[name={name}].metadata.listName" for name in names),
    ]


def test_what_is_scaled_and_selected_is_there() -> None:
    for (kind, _), item in BASE.items():
        spec = item["spec"]
        if target := spec.get("scaleTargetRef"):
            assert ("Deployment", target["name"]) in BASE
            assert "replicas" not in BASE["Deployment", target["name"]]["spec"]
        if kind in ("Deployment", "StatefulSet", "PodDisruptionBudget", "Service"):
            selector = spec["selector"].get("matchLabels", spec["selector"])
            assert selector["app.kubernetes.io/name"] in OURS


def test_no_pod_may_do_more_than_it_must() -> None:
    for name, pod in pods():
        spec, own = pod["spec"], container(name)["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        # Its variables would include REDIS_PORT, a URL.
        assert spec["enableServiceLinks"] is False
        assert own["readOnlyRootFilesystem"] and own["capabilities"] == {"drop": ["ALL"]}
        assert own["allowPrivilegeEscalation"] is False
        assert {"memory"} <= container(name)["resources"]["limits"].keys()
        assert {"mountPath": "/tmp", "name": "tmp"} in container(name)["volumeMounts"]


def test_what_is_mounted_asked_for_and_probed_is_there() -> None:
    generated = {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    explained = (KUBERNETES / "base" / "kustomization.yaml").read_text()
    paths = create_app(ServerSettings()).openapi()["paths"]
    for name, pod in pods():
        own = container(name)
        for source in own.get("envFrom", []):
            assert source["configMapRef"]["name"] in generated
        for variable in own["env"]:
            if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                told = f"create secret generic {secret['name']} --from-literal={secret['key']}="
                assert told in explained
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in generated
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in BASE
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if "httpGet" in own.get(probe, {}):
                assert own[probe]["httpGet"]["path"] in paths


def test_servers_and_workers_get_the_same_settings_but_for_keys() -> None:
    settings = {"configMapRef": {"name": "charloom"}}
    literals = {
        literal.partition("=")[0]
        for generated in KUSTOMIZATION["configMapGenerator"]
        for literal in generated.get("literals", ())
    }
    for name in ("server", "worker"):
        own = container(name)
        assert own["envFrom"] == [settings]
        # Those of a container itself would win, without a word.
        assert not {variable["name"] for variable in own["env"]} & literals
    assert "CHARLOOM_API_KEYS" not in {one["name"] for one in container("worker")["env"]}
    threads = {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert {"name": "CHARLOOM_THREADS", "valueFrom": threads} in container("worker")["env"]


def test_no_server_is_taken_away_because_redis_is() -> None:
    """All would be at once, and with them the texts that need no Redis."""
    assert container("server")["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_servers_and_workers_share_one_volume_and_redis_keeps_its_own() -> None:
    claim = BASE["PersistentVolumeClaim", "charloom-data"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]
    for name in ("server", "worker"):
        volumes = dict(pods())[name]["spec"]["volumes"]
        shared = {"claimName": "charloom-data"}
        assert shared in [volume.get("persistentVolumeClaim") for volume in volumes]
    assert BASE["StatefulSet", "redis"]["spec"]["volumeClaimTemplates"]


def test_nothing_is_reached_that_no_policy_names() -> None:
    policies = [item for (kind, _), item in BASE.items() if kind == "NetworkPolicy"]
    (everything,) = [p for p in policies if not {"ingress", "egress"} & p["spec"].keys()]
    assert everything["spec"]["policyTypes"] == ["Ingress", "Egress"]
    label = {"app.kubernetes.io/part-of": "charloom"}
    assert everything["spec"]["podSelector"] == {"matchLabels": label}
    # Only then pods have the label, and not just what makes them.
    assert {"pairs": label, "includeTemplates": True} in KUSTOMIZATION["labels"]
    ports = {p["name"] for name in OURS for p in container(name).get("ports", [])}
    for policy in policies:
        for way in ("ingress", "egress"):
            for rule in policy["spec"].get(way, []):
                assert {p["port"] for p in rule["ports"]} <= ports | {53}
