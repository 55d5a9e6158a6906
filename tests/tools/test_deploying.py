"""docs/deploying.md and deploy/: what they tell hosts to do is valid for those hosts and agrees with the image."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from hera.workflows.models import Workflow, WorkflowTemplate
from pydantic import ValidationError
from pydicom import Dataset, dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt

import acuity
from acuity.dicom.reading.files import MR_CLASSES
from tests.derived import derive
from tests.orthanc import running_orthanc
from tools.exit_codes import refusals

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
DOCUMENT = (REPOSITORY / "docs" / "deploying.md").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "image" / "Dockerfile").read_text(encoding="utf-8")
IMAGE = f"acuity:{acuity.__version__}-cpu"
VARIABLES = dict(re.findall(r"\b(HOLOSCAN_\w+)=(\S+)", DOCKERFILE))  # what the image sets
NEEDS = yaml.safe_load((REPOSITORY / "app.yaml").read_text(encoding="utf-8"))["resources"]
CPUS, MEMORY = str(NEEDS["cpu"]), str(NEEDS["memory"])
DOCKER_MEMORY = MEMORY.replace("Gi", "g")
# What the application may refuse with: 70 and above are other commands', "archive" is for DICOMweb.
REFUSALS = [error.exit_code for error in refusals() if error.exit_code < 70 and error.code != "archive"]


def snippets(language: str) -> dict[str, str]:
    """Fenced blocks of a language; those without a label are numbered."""
    found = re.findall(rf"^```{language}(?: (\S+))?\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return {label or f"{language} {number}": text for number, (label, text) in enumerate(found)}


def load(name: str) -> Any:
    """The first document of a JSON or YAML file of deploy/."""
    return next(iter(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8"))))


# Shell: docker, podman, the module of mercure


@pytest.mark.parametrize("label", snippets("sh"))
def test_shell_snippets_are_shell(label: str) -> None:
    done = subprocess.run(["bash", "-n"], input=snippets("sh")[label], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_containers_are_started_with_limits_and_without_rights(engine: str, tmp_path: Path) -> None:
    """The shell itself says what the engine would get: a stand-in for it on PATH prints its arguments."""
    stand_in = tmp_path / "bin" / engine
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    study, out = tmp_path / "a study", tmp_path / "out"
    environment = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "STUDY": str(study), "OUT": str(out)}
    command = ["bash", "-euc", snippets("sh")[engine]]
    printed = subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout
    verb, *words, image = printed.splitlines()
    assert (verb, image.removeprefix("localhost/")) == ("run", IMAGE)
    assert "--read-only" in words
    values = [(name, value) for name, value in zip(words, words[1:], strict=False) if name.startswith("--")]
    expected = {
        "--network": "none",
        "--cap-drop": "ALL",
        "--security-opt": "no-new-privileges",
        "--user": f"{os.getuid()}:{os.getgid()}",
        "--memory": DOCKER_MEMORY,
        "--memory-swap": DOCKER_MEMORY,
        "--cpus": CPUS,
    }
    assert expected.items() <= dict(values).items()
    assert dict(values)["--tmpfs"].startswith("/tmp:")
    threads = {f"{variable}={CPUS}" for variable in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS")}
    assert {value for name, value in values if name == "--env"} == threads
    mounts = [value.split(":") for name, value in values if name == "--volume"]
    inside = [VARIABLES[f"HOLOSCAN_{way}_PATH"].rstrip("/") for way in ("INPUT", "OUTPUT")]
    assert [mount[:2] for mount in mounts] == [[str(study), inside[0]], [str(out), inside[1]]]
    assert "ro" in mounts[0][2].split(",")


Module = Callable[[str], subprocess.Popen[str]]
WRITES = "mkdir -p series/T1 seg; touch series/T1/0001.dcm seg/segmentation_sr.dcm; echo {} > result.json"


@pytest.fixture
def module(tmp_path: Path) -> Module:
    """Starts the script of mercure's module on a stand-in for the application, given as shell."""
    (out := tmp_path / "out").mkdir()

    def start(application: str) -> subprocess.Popen[str]:
        program = tmp_path / "application"
        program.write_text(f"#!/bin/sh\ncd {out}\n{application}\n")
        program.chmod(0o755)
        environment = {"PATH": os.environ["PATH"], "MERCURE_OUT_DIR": str(out), "ACUITY_ENTRYPOINT": str(program)}
        command = [str(DEPLOY / "mercure" / "entrypoint.sh"), "--spacing", "2"]
        return subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return start


def test_mercure_finds_every_result_at_the_top(module: Module, tmp_path: Path) -> None:
    process = module(f'{WRITES}; mkdir -p .acuity-x/series; touch .acuity-x/series/half.dcm; echo "$@"')
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err, out) == (0, "", "--spacing 2\n")
    found = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert found == {"result.json", "series_T1_0001.dcm", "seg_segmentation_sr.dcm"}
    assert (tmp_path / "out" / ".acuity-x" / "series" / "half.dcm").is_file()


def test_mercure_gets_the_exit_code_and_nothing_to_send(module: Module, tmp_path: Path) -> None:
    process = module(f"{WRITES}; exit 22")
    process.communicate(timeout=30)
    assert process.returncode == 22
    assert [path.name for path in (tmp_path / "out").glob("*.dcm")] == []


def test_mercure_s_signal_reaches_the_application_and_is_waited_for(module: Module, tmp_path: Path) -> None:
    process = module("trap 'sleep 0.3; touch withdrawn; exit 143' TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert (tmp_path / "out" / "withdrawn").exists()


def test_mercure_s_module_has_the_image_and_the_limits() -> None:
    entry = load("mercure/module.json")
    arguments = json.loads(entry["docker_arguments"])
    limits = {"mem_limit": DOCKER_MEMORY, "memswap_limit": DOCKER_MEMORY, "nano_cpus": NEEDS["cpu"] * 10**9}
    assert {**limits, "read_only": True, "cap_drop": ["ALL"]}.items() <= arguments.items()
    # mercure passes these itself, and docker-py takes none twice
    assert not {"user", "network_mode", "environment", "volumes", "mounts", "runtime", "detach"} & arguments.keys()
    assert json.loads(entry["environment"])["OMP_NUM_THREADS"] == CPUS
    assert entry["docker_tag"] == IMAGE.replace("-cpu", "-mercure")
    dockerfile = (DEPLOY / "mercure" / "Dockerfile").read_text()
    assert f"ARG IMAGE={IMAGE}\n" in dockerfile
    assert "RUN rm -r /etc/monai\n" in dockerfile  # else mercure takes it for a MONAI Application Package


# No loops: a series as it comes from a scanner, and one that Acuity made from it


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``source``, a scanner's series, and all that Acuity makes from it, its ``series`` among it."""
    return derive(tmp_path_factory.mktemp("study"), header={"Manufacturer": "Scanner Inc."}).folder


def test_mercure_s_rule_takes_the_scanner_s_series_only(derived: Path) -> None:
    """mercure evaluates rules as Python expressions, too."""
    expression = load("mercure/rule.json")["rule"]
    assert len({path.parent for path in derived.rglob("*.dcm")}) == 5
    for path in derived.rglob("*.dcm"):
        ds = dcmread(path)
        tags = SimpleNamespace(Modality=ds.Modality, Manufacturer=ds.Manufacturer)
        assert ds.Manufacturer == ("Scanner Inc." if path.parent.name == "source" else "Acuity")
        assert bool(eval(expression, {}, {"tags": tags})) == (path.parent.name == "source")


@pytest.mark.slow
def test_orthanc_s_script_sends_the_scanner_s_series_only(derived: Path, tmp_path: Path) -> None:
    received: list[Dataset] = []

    def store(event: evt.Event) -> int:
        received.append(event.dataset)
        return 0

    entity = AE("ACUITY")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None and server.socket is not None
    (script := tmp_path / "forward.lua").write_text(snippets("lua")["orthanc"])
    modalities = {"acuity": ["ACUITY", "127.0.0.1", server.socket.getsockname()[1]]}
    expected = len(list((derived / "source").iterdir()))
    with running_orthanc(tmp_path, StableAge=1, DicomModalities=modalities, LuaScripts=[str(script)]) as orthanc:
        orthanc.send(derived)
        deadline = time.monotonic() + 120
        while len(received) < expected and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(5)  # the other series have been stable for as long by now, at an age of one second
    server.shutdown()
    assert [str(ds.Manufacturer) for ds in received] == ["Scanner Inc."] * expected


# MONAI Deploy


@pytest.mark.parametrize("label", snippets("json"))
def test_json_snippets_are_json(label: str) -> None:
    json.loads(snippets("json")[label])


def test_the_gateway_lets_in_what_is_read_and_nothing_else() -> None:
    entity = json.loads(snippets("json")["gateway-ae"])
    assert set(entity["allowedSopClasses"]) == set(MR_CLASSES)
    assert entity["grouping"] == "0020,000D"  # by study


@pytest.mark.parametrize("kind", ["argo", "docker"])
def test_the_parts_of_the_workflow_find_one_another(kind: str) -> None:
    workflow = load(f"workflow-manager-{kind}.json")
    gateway, (first, export) = workflow["informatics_gateway"], workflow["tasks"]
    assert first["task_destinations"] == [{"name": export["id"]}]
    assert export["export_destinations"] == [{"name": name} for name in gateway["export_destinations"]]
    for artifact in export["artifacts"]["input"]:
        ((task, name),) = re.findall(r"context\.executions\.([\w-]+)\.artifacts\.([\w-]+)", artifact["value"])
        assert task == first["id"] and name in {output["name"] for output in first["artifacts"]["output"]}
    names = {part: json.loads(snippets("json")[f"gateway-{part}"]) for part in ("ae", "source", "destination")}
    assert gateway["ae_title"] == names["ae"]["aeTitle"]
    assert gateway["data_origins"] == [names["source"]["name"]]
    assert gateway["export_destinations"] == [names["destination"]["name"]]
    assert len(workflow["name"]) <= 15 and len(gateway["ae_title"]) <= 15  # the Workflow Manager refuses more


@pytest.mark.parametrize("kind", ["argo", "docker"])
def test_only_complete_outputs_are_exported(kind: str) -> None:
    """The Docker plug-in calls any exited container a success; folders that only a complete run leaves do not lie."""
    exports = load(f"workflow-manager-{kind}.json")["tasks"][-1]["artifacts"]["input"]
    assert all(artifact["mandatory"] for artifact in exports)
    suffixes = [artifact["value"].partition("}}")[2] for artifact in exports]
    assert suffixes == ["/series", "/seg", "/report", "/overview/overview.dcm"]


def test_the_docker_task_agrees_with_the_image() -> None:
    task = load("workflow-manager-docker.json")["tasks"][0]
    args = task["args"]
    assert args["container_image"] == IMAGE
    assert f'ENTRYPOINT ["{args["command"].removeprefix("exec ")}"]\n' in DOCKERFILE
    for artifact in (*task["artifacts"]["input"], *task["artifacts"]["output"]):  # the plug-in mounts where args say
        assert args[artifact["name"]] == VARIABLES[artifact["name"].removeprefix("env_")]
    assert args["env_OMP_NUM_THREADS"] == CPUS


# Kubernetes and Argo


@pytest.fixture
def kubernetes() -> list[Any]:
    """The job and its network policy."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes-job.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("version", ["1.31", "1.37"])  # the first with podFailurePolicy for good; the newest known here
def test_kubernetes_accepts_the_manifests(version: str, kubernetes: list[Any]) -> None:
    for document in kubernetes:
        kubernetes_validate.validate(document, version, strict=True)
    kubernetes[0]["spec"]["template"]["spec"]["containers"][0]["memory"] = "8Gi"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(kubernetes[0], version, strict=True)


def test_the_network_policy_closes_the_job_s_network(kubernetes: list[Any]) -> None:
    job, policy = kubernetes
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & set(policy["spec"])  # a list there would be one of exceptions


def test_argo_accepts_template_and_workflow() -> None:
    template, workflow = load("argo-workflow-template.yaml"), yaml.safe_load(snippets("yaml")["argo-workflow"])
    WorkflowTemplate.model_validate(template, extra="forbid", by_alias=True, by_name=False)
    Workflow.model_validate(workflow, extra="forbid", by_alias=True, by_name=False)
    assert workflow["spec"]["workflowTemplateRef"]["name"] == template["metadata"]["name"]
    (main,) = template["spec"]["templates"]
    given = [artifact["name"] for artifact in workflow["spec"]["arguments"]["artifacts"]]
    assert given == [artifact["name"] for artifact in main["inputs"]["artifacts"]]
    main["container"]["memory"] = "8Gi"
    with pytest.raises(ValidationError, match="memory"):
        WorkflowTemplate.model_validate(template, extra="forbid", by_alias=True, by_name=False)


def test_the_workflow_manager_s_argo_task_fits_the_template() -> None:
    """The plug-in finds template and artifacts by their names, and sets where the artifacts lie."""
    task, template = load("workflow-manager-argo.json")["tasks"][0], load("argo-workflow-template.yaml")
    (main,) = template["spec"]["templates"]
    assert task["args"]["workflow_template_name"] == template["metadata"]["name"]
    assert template["spec"]["entrypoint"] == main["name"]
    for way in ("input", "output"):
        assert [a["name"] for a in task["artifacts"][way]] == [a["name"] for a in main[f"{way}s"]["artifacts"]]


def test_a_refused_study_is_not_tried_again(kubernetes: list[Any]) -> None:
    ignore, fail = kubernetes[0]["spec"]["podFailurePolicy"]["rules"]
    assert (ignore["action"], fail["action"]) == ("Ignore", "FailJob")
    assert fail["onExitCodes"]["values"] == [2, *REFUSALS]
    retry = load("argo-workflow-template.yaml")["spec"]["templates"][0]["retryStrategy"]
    assert retry["expression"].endswith(" in [1, 137, 143]")


@pytest.mark.parametrize("host", ["kubernetes", "argo"])
def test_pods_have_limits_and_no_rights(host: str, kubernetes: list[Any]) -> None:
    if host == "kubernetes":
        pod = kubernetes[0]["spec"]["template"]["spec"]
        (container,), artifacts = pod["containers"], []
        assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    else:
        pod = load("argo-workflow-template.yaml")["spec"]
        container, artifacts = pod["templates"][0]["container"], pod["templates"][0]["inputs"]["artifacts"]
    assert container["image"] == IMAGE
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    for kind in ("requests", "limits"):
        assert {"memory": MEMORY, "cpu": CPUS}.items() <= container["resources"][kind].items()
    assert [entry["value"] for entry in container["env"]] == [CPUS, CPUS]
    paths = {mount["mountPath"] for mount in container["volumeMounts"]} | {one["path"] for one in artifacts}
    assert paths == {VARIABLES[f"HOLOSCAN_{way}_PATH"].rstrip("/") for way in ("INPUT", "OUTPUT")} | {"/tmp"}
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}


# The document itself


def test_every_exit_code_has_one_line() -> None:
    listed: list[int] = []
    for row in re.findall(r"^\| ([\d, to]+?) \| .* \| .* \|$", DOCUMENT, re.MULTILINE):
        for part in row.split(","):
            first, _, last = part.strip().partition(" to ")
            listed += range(int(first), int(last or first) + 1)
    assert max(Counter(listed).values()) == 1
    assert {0, 1, 2, *REFUSALS, 130, 137, 143} <= set(listed)


def test_one_version_everywhere() -> None:
    files = [file for file in DEPLOY.rglob("*") if file.is_file() and file.suffix != ".lock"]
    text = DOCUMENT + "".join(file.read_text(encoding="utf-8") for file in files)
    assert set(re.findall(r"acuity:(\d+\.\d+\.\d+)", text)) == {acuity.__version__}
    assert set(re.findall(r'(?<!-)version"?: "(.+?)"', text)) == {acuity.__version__}


def test_files_and_links_exist() -> None:
    for name in re.findall(r"\b(deploy/[\w./-]+|benchmarks/\w+\.py)", DOCUMENT):
        assert (REPOSITORY / name.rstrip(".")).exists(), name
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", DOCUMENT):
        assert link.startswith("https://") or (REPOSITORY / "docs" / link).is_file(), link
