"""What deploy/ holds is valid: for Tocsin, and for each of the programs that will read it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from collector_process import collector_binary
from ruamel.yaml import YAML

import tocsin
from benchmarks import peers
from benchmarks.deployment import deploy_check_path
from tocsin.service.loading import Loaded, load_text

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
COMPOSE = DEPLOY / "compose" / "compose.yaml"
DOCKERFILES = [DEPLOY / "Dockerfile", ROOT / "examples" / "app" / "Dockerfile"]
HOOK = "https://hooks.slack.com/services/T0/B0/x"
MEBIBYTE = 1024 * 1024
EXISTING = """
receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:14317}}}}
processors: {batch: {timeout: 200ms}}
exporters: {otlp/backend: {endpoint: "backend.example.com:4317"}}
service: {pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp/backend]}}}
"""
UNITS = {"m": MEBIBYTE, "Mi": MEBIBYTE, "Gi": 1024 * MEBIBYTE}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path))


def of_kind(path: Path, *kinds: str) -> dict[str, Any]:
    [found] = [document for document in documents(path) if document["kind"] in kinds]
    return found


def loaded(manifest: Path) -> Loaded:
    """Return the configuration of a manifest's ConfigMap, loaded with the secrets that its container is given."""
    text = of_kind(manifest, "ConfigMap")["data"]["config.yaml"]
    given = {
        name: HOOK if name.startswith("SLACK") else f"{name}-of-sixteen-letters"
        for name in re.findall(r"\$\{env:(\w+)", text)
    }
    assert {each["name"] for each in container(manifest)["env"]} == set(given)
    return load_text(text, environ=given)


def container(manifest: Path) -> dict[str, Any]:
    pod = of_kind(manifest, "Deployment", "StatefulSet")["spec"]["template"]["spec"]
    [found] = [one for one in pod["containers"] if one["name"] == "tocsin"]
    return dict(found)


def size(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]  # a mistake fails the test
    return int(number) * UNITS[unit]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_s_configuration_is_valid_and_fits_its_container(manifest: Path) -> None:
    configuration = loaded(manifest).configuration
    assert [rule.name for rule in loaded(manifest).rules] == ["runaway-conversation"]
    one = container(manifest)
    assert one["args"] == ["serve", "--config", "/etc/tocsin/config.yaml"]
    assert one["image"] == f"tocsin:{tocsin.__version__}"
    assert configuration.limits.memory is not None
    assert size(one["resources"]["limits"]["memory"]) >= 1.25 * configuration.limits.memory
    # What is opened to the cluster is listened on, and the probes ask where the API is.
    otlp = configuration.receivers.otlp
    listeners = [otlp.grpc and otlp.grpc.endpoint, otlp.http and otlp.http.endpoint, configuration.api.endpoint]
    reachable = {int(one.rpartition(":")[2]) for one in listeners if one and not one.startswith("127.")}
    assert {port["containerPort"] for port in one["ports"]} == reachable
    [api] = [port["name"] for port in one["ports"] if port["containerPort"] == 8417]
    assert {one[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {api}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_a_pod_writes_to_its_volumes_only_and_is_not_root(manifest: Path) -> None:
    workload = of_kind(manifest, "Deployment", "StatefulSet")["spec"]
    pod, one = workload["template"]["spec"], container(manifest)
    security = {**pod.get("securityContext", {}), **one["securityContext"]}
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["runAsUser"] == security["fsGroup"] == 65532
    mounted = {each["mountPath"]: each["name"] for each in one["volumeMounts"]}
    assert set(mounted) == {"/etc/tocsin", "/var/lib/tocsin", "/tmp"}  # noqa: S108  # the pod's own
    claims = [claim["metadata"]["name"] for claim in workload.get("volumeClaimTemplates", ())]
    assert set(mounted.values()) == {volume["name"] for volume in pod["volumes"]} | set(claims)


def test_the_gateway_is_closed_to_whom_its_policy_does_not_name() -> None:
    manifest = DEPLOY / "kubernetes" / "gateway.yaml"
    ports = {port["name"] for port in container(manifest)["ports"]}
    assert {port["targetPort"] for port in of_kind(manifest, "Service")["spec"]["ports"]} == ports
    policy = of_kind(manifest, "NetworkPolicy")["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == ports
    assert all(rule["from"] for rule in policy["ingress"])
    labels = of_kind(manifest, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    configuration = loaded(manifest).configuration
    assert configuration.api.tokens
    assert configuration.receivers.otlp.grpc is not None
    assert configuration.receivers.otlp.grpc.auth is not None


def test_rules_that_are_added_to_the_gateway_have_a_file_on_its_disk_to_go_to(tmp_path: Path) -> None:
    manifest = DEPLOY / "kubernetes" / "gateway.yaml"
    [first] = of_kind(manifest, "StatefulSet")["spec"]["template"]["spec"]["initContainers"]
    assert first["image"] == container(manifest)["image"]
    assert first["securityContext"] == container(manifest)["securityContext"]
    given = of_kind(manifest, "ConfigMap")["data"]["first-rules.yaml"]
    (tmp_path / "first-rules.yaml").write_text(given)
    program, *arguments = [word.replace("/etc/tocsin", str(tmp_path)) for word in first["command"]]
    ours = tmp_path / "rules" / "ours.yaml"
    for expected in (given, "rules: [] # ours now"):
        subprocess.run([f"/bin/{program}", *arguments], cwd=tmp_path, timeout=30, check=True)  # noqa: S603
        assert ours.read_text() == expected, "what is there already stays"
        ours.write_text("rules: [] # ours now")
    configuration = of_kind(manifest, "ConfigMap")["data"]["config.yaml"]
    assert "rule_files: [/var/lib/tocsin/rules/*.yaml]" in configuration
    [contact_points] = re.findall(r"contact_points:\n(?: {2}.*\n)+", configuration)
    names = [rule.name for rule in load_text(contact_points + given, environ={"SLACK_WEBHOOK_URL": HOOK}).rules]
    assert names == ["traffic-stopped"]


def test_compose_publishes_to_this_machine_alone_and_takes_every_privilege() -> None:
    services = YAML(typ="safe").load(COMPOSE)["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (COMPOSE.parent / source).exists(), volume
    configuration = load_text((DEPLOY / "compose" / "tocsin" / "config.yaml").read_text(), environ={}).configuration
    assert configuration.limits.memory is not None
    assert size(services["tocsin"]["mem_limit"]) >= 1.25 * configuration.limits.memory
    assert "tocsin" in configuration.api.allowed_hosts, "the example's guard asks under this name"
    versions = re.findall(r"version: ([\d.]+)", (peers.COLLECTOR_CONFIGS / "collector-builder.yaml").read_text())
    assert services["collector"]["image"].endswith(f":{versions[0].rstrip('.')}"), "the version that tests run"


def test_prometheus_scrapes_the_job_that_its_rules_name() -> None:
    [job] = YAML(typ="safe").load(DEPLOY / "prometheus" / "scrape.yaml")
    text = (DEPLOY / "prometheus" / "tocsin.rules.yaml").read_text()
    assert set(re.findall(r'job="(\w+)"', text)) == {job["job_name"]}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_a_dockerfile_copies_is_there_and_the_image_is_not_root_s(dockerfile: Path) -> None:
    context = ROOT if dockerfile.parent == DEPLOY else dockerfile.parent
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE) if context == ROOT else None
    instructions = re.sub(r"\\\n", " ", dockerfile.read_text())
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", instructions, re.MULTILINE):
        for source in sources.split():
            assert (context / source).exists(), source
            assert let_in is None or source in let_in, f".dockerignore keeps {source} out"
    last = instructions[instructions.rindex("\nFROM ") :]
    user, _, group = re.findall(r"^USER (\S+)$", last, re.MULTILINE)[-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.peer
@pytest.mark.parametrize(
    ("kind", "file"),
    [
        *(("kubernetes", manifest) for manifest in MANIFESTS),
        ("compose", COMPOSE),
        *(("dockerfile", dockerfile) for dockerfile in DOCKERFILES),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.parent.name}-{value.stem}",
)
def test_the_program_that_reads_it_takes_it(kind: str, file: Path) -> None:
    assert check(kind, file) == ""


@pytest.mark.peer
@pytest.mark.parametrize(
    ("kind", "file", "old", "new", "complaint"),
    [
        ("kubernetes", MANIFESTS[0], "readOnlyRootFilesystem", "readOnlyRootFileSystem", "unknown field"),
        ("kubernetes", MANIFESTS[0], "replicas: 1", 'replicas: "1"', "spec.replicas"),
        ("compose", COMPOSE, "mem_limit", "memory_limit", "memory_limit"),
        ("compose", COMPOSE, "[provider, collector]", "[provider, gatherer]", "gatherer"),
        ("dockerfile", DOCKERFILES[0], "--start-period", "--start-after", "start-after"),
        ("dockerfile", DOCKERFILES[0], " AS build", " as build", "FromAsCasing"),
    ],
)
def test_a_mistake_is_found(kind: str, file: Path, old: str, new: str, complaint: str, tmp_path: Path) -> None:
    text = file.read_text()
    assert old in text
    wrong = tmp_path / file.name
    wrong.write_text(text.replace(old, new))
    assert complaint in check(kind, wrong)


def check(kind: str, file: Path) -> str:
    """Return what Compose, BuildKit or Kubernetes say of a file; nothing where it is well."""
    program = deploy_check_path()
    if program is None:
        assert not peers.in_ci(), "CI has the checks: `make peers`"
        pytest.skip("the checks are not built; run `make peers` (needs Go)")
    environ = {name: value for name, value in os.environ.items() if name != "SLACK_WEBHOOK_URL"}
    done = subprocess.run(  # noqa: S603  # built by ourselves
        [program, kind, str(file)], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.peer
def test_the_collector_takes_compose_s_configuration_and_tocsin_s_beside_one_that_is_there(tmp_path: Path) -> None:
    existing = tmp_path / "existing.yaml"
    existing.write_text(EXISTING)
    beside = [str(existing), str(DEPLOY / "collector" / "tocsin.yaml")]
    assert validated(str(DEPLOY / "compose" / "collector.yaml")) == ""
    assert validated(*beside) == ""
    wrong = "yaml:service::pipelines::traces::exporters: [otlp/gatherer]"
    assert "otlp/gatherer" in validated(*beside, wrong)


def validated(*sources: str) -> str:
    """Return what the collector says of several configurations together; nothing where they are well."""
    command = [str(collector_binary()), "validate", *(f"--config={source}" for source in sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    return done.stdout + done.stderr


def test_systemd_takes_the_unit_and_calls_it_well_confined(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    text = (DEPLOY / "systemd" / "tocsin.service").read_text()
    program = Path(sys.executable).with_name("tocsin")
    unit = tmp_path / "tocsin.service"
    unit.write_text(text.replace("/opt/tocsin/bin/tocsin", str(program)))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    # What else it says is of the machine's own units.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "tocsin" in line] == []
    command = [analyze, "security", "--no-pager", "--offline=yes", "--threshold=15", str(unit)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if "nrecognized option" in judged.stderr or "Unknown" in judged.stderr:
        pytest.skip("this systemd-analyze judges no unit that is not installed")
    assert judged.returncode == 0, judged.stdout.splitlines()[-1:]
