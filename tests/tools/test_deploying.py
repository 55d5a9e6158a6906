"""docs/deploying.md and deploy/: what they tell hosts to do is valid for those hosts and agrees with the image."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from pydicom import dcmread

import acuity
from acuity.dicom.reading.files import MR_CLASSES
from tests.derived import derive
from tools.exit_codes import refusals

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
DOCUMENT = (REPOSITORY / "docs" / "deploying.md").read_text(encoding="utf-8")
IMAGE = f"acuity:{acuity.__version__}-cpu"
# What the application may refuse with: 70 and above are other commands', "archive" is for DICOMweb.
REFUSALS = [error.exit_code for error in refusals() if error.exit_code < 70 and error.code != "archive"]


def snippets(language: str) -> dict[str, str]:
    """Fenced blocks of a language; those without a label are numbered."""
    found = re.findall(rf"^```{language}(?: (\S+))?\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return {label or f"{language} {number}": text for number, (label, text) in enumerate(found)}


def schema(name: str, part: str | None = None) -> dict[str, Any]:
    """A schema of deploy/schemas, or one of its definitions."""
    whole = json.loads((DEPLOY / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(whole)
    return {**whole, "$ref": f"#/$defs/{part}"} if part else whole


def load(name: str) -> Any:
    """A file of deploy/ that is one JSON or YAML document."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def image_variables() -> dict[str, str]:
    """What the image's Dockerfile sets with ENV."""
    text = (REPOSITORY / "packaging" / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:ENV)?\s+(HOLOSCAN_\w+)=(\S+)", text, re.MULTILINE))


def resources() -> dict[str, Any]:
    """The needs that app.yaml declares."""
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "app.yaml").read_text(encoding="utf-8"))["resources"]
    return found


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
    done = subprocess.run(
        ["bash", "-euc", snippets("sh")[engine]], env=environment, text=True, capture_output=True, check=True
    )
    verb, *words, image = done.stdout.splitlines()
    assert (verb, image.removeprefix("localhost/")) == ("run", IMAGE)
    assert "--read-only" in words
    values = [(name, value) for name, value in zip(words, words[1:], strict=False) if name.startswith("--")]
    single = dict(values)
    assert single["--network"] == "none" and single["--cap-drop"] == "ALL"
    assert single["--security-opt"] == "no-new-privileges"
    assert single["--user"] == f"{os.getuid()}:{os.getgid()}"
    assert single["--memory"] == single["--memory-swap"] == str(resources()["memory"]).lower().replace("gi", "g")
    assert single["--cpus"] == str(resources()["cpu"])
    assert single["--tmpfs"].startswith("/tmp:")
    assert sorted(value for name, value in values if name == "--env") == [
        f"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS={resources()['cpu']}",
        f"OMP_NUM_THREADS={resources()['cpu']}",
    ]
    mounts = [value.split(":") for name, value in values if name == "--volume"]
    inside = [image_variables()[f"HOLOSCAN_{way}_PATH"].rstrip("/") for way in ("INPUT", "OUTPUT")]
    assert [mount[:2] for mount in mounts] == [[str(study), inside[0]], [str(out), inside[1]]]
    assert "ro" in mounts[0][2].split(",")


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts the script of mercure's module on a stand-in for the application, given as shell."""
    (tmp_path / "out").mkdir()

    def start(application: str) -> subprocess.Popen[str]:
        program = tmp_path / "application"
        program.write_text(f"#!/bin/sh\ncd {tmp_path / 'out'}\n{application}\n")
        program.chmod(0o755)
        return subprocess.Popen(
            [str(DEPLOY / "mercure" / "entrypoint.sh"), "--spacing", "2"],
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "MERCURE_OUT_DIR": str(tmp_path / "out"),
                "ACUITY_ENTRYPOINT": str(program),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


Module = Callable[[str], subprocess.Popen[str]]
WRITES = "mkdir -p series/T1 seg; touch series/T1/0001.dcm seg/segmentation_sr.dcm; echo {} > result.json"


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


def test_a_module_outside_mercure_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(DEPLOY / "mercure" / "entrypoint.sh")],
        env={"PATH": os.environ["PATH"]},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert "MERCURE_OUT_DIR" in done.stderr


def test_mercure_accepts_module_and_rule() -> None:
    module, rule = load("mercure/module.json"), load("mercure/rule.json")
    jsonschema.validate(module, schema("mercure", "module"))
    jsonschema.validate(rule, schema("mercure", "rule"))
    arguments = json.loads(module["docker_arguments"])
    jsonschema.validate(arguments, schema("mercure", "dockerArguments"))
    assert arguments["mem_limit"] == arguments["memswap_limit"] == str(resources()["memory"]).lower().replace("gi", "g")
    assert arguments["nano_cpus"] == resources()["cpu"] * 10**9
    assert json.loads(module["environment"])["OMP_NUM_THREADS"] == str(resources()["cpu"])
    assert module["docker_tag"] == IMAGE.replace("-cpu", "-mercure")
    dockerfile = (DEPLOY / "mercure" / "Dockerfile").read_text()
    assert f"ARG IMAGE={IMAGE}\n" in dockerfile
    assert "RUN rm -r /etc/monai\n" in dockerfile


def test_mercure_s_schema_refuses_what_mercure_passes_itself() -> None:
    for wrong in ({"network_mode": "none"}, {"user": "0"}, {"mem_limit": "much"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema("mercure", "dockerArguments"))


# No loops: a series as it comes from a scanner, and one that Acuity made from it


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``source``, a scanner's series, and all that Acuity makes from it, its ``series`` among it."""
    return derive(tmp_path_factory.mktemp("study"), header={"Manufacturer": "Scanner Inc."}).folder


def test_every_object_names_acuity_as_its_manufacturer(derived: Path) -> None:
    found = {path: str(dcmread(path).Manufacturer) for path in derived.rglob("*.dcm")}
    assert {path.relative_to(derived).parts[0] for path in found} == {"source", "series", "seg", "report", "overview"}
    for path, manufacturer in found.items():
        assert manufacturer == ("Scanner Inc." if path.parent.name == "source" else "Acuity"), path


def test_mercure_s_rule_takes_the_scanner_s_series_only(derived: Path) -> None:
    """mercure evaluates rules as Python expressions, too."""
    expression = load("mercure/rule.json")["rule"]

    def applies(path: Path) -> bool:
        ds = dcmread(path)
        return bool(eval(expression, {}, {"tags": SimpleNamespace(Modality=ds.Modality, Manufacturer=ds.Manufacturer)}))

    assert {path.parent.name for path in derived.rglob("*.dcm") if applies(path)} == {"source"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.slow
def test_orthanc_s_script_sends_the_scanner_s_series_only(derived: Path, tmp_path: Path) -> None:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is not installed (Debian package orthanc)")
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from requests import ConnectionError as NotYet
    from requests import post

    received: list[Any] = []

    def store(event: Any) -> int:
        received.append(event.dataset)
        return 0

    entity = AE("ACUITY")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None and server.socket is not None
    dicom_port = server.socket.getsockname()[1]
    (tmp_path / "forward.lua").write_text(snippets("lua")["orthanc"])
    (tmp_path / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(tmp_path / "storage"),
                "IndexDirectory": str(tmp_path / "storage"),
                "StableAge": 1,
                "HttpPort": (port := free_port()),
                "DicomServerEnabled": False,
                "DicomModalities": {"acuity": ["ACUITY", "127.0.0.1", dicom_port]},
                "LuaScripts": [str(tmp_path / "forward.lua")],
            }
        )
    )
    with (log := tmp_path / "log").open("w") as file:
        process = subprocess.Popen([program, str(tmp_path / "orthanc.json")], stdout=file, stderr=file)
    try:
        files = sorted(derived.rglob("*.dcm"), key=lambda path: path.parent.name != "source")
        deadline = time.monotonic() + 120
        while files and time.monotonic() < deadline:
            try:
                post(f"http://127.0.0.1:{port}/instances", data=files[0].read_bytes(), timeout=30).raise_for_status()
                files.pop(0)
            except NotYet:
                time.sleep(0.2)
        expected = len(list((derived / "source").iterdir()))
        while len(received) < expected and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(5)  # the other series have been stable for as long by now, at an age of one second
    finally:
        process.terminate()
        process.wait(timeout=60)
        server.shutdown()
    assert not files, log.read_text()
    assert [str(ds.Manufacturer) for ds in received] == ["Scanner Inc."] * expected, log.read_text()


# MONAI Deploy


@pytest.mark.parametrize("part", ["ae", "source", "destination"])
def test_the_informatics_gateway_accepts_its_configuration(part: str) -> None:
    jsonschema.validate(json.loads(snippets("json")[f"gateway-{part}"]), schema("informatics-gateway", part))


def test_the_gateway_lets_in_what_is_read_and_nothing_else() -> None:
    assert set(json.loads(snippets("json")["gateway-ae"])["allowedSopClasses"]) == set(MR_CLASSES)


@pytest.mark.parametrize("kind", ["argo", "docker"])
def test_the_workflow_manager_accepts_the_workflow(kind: str) -> None:
    workflow = load(f"workflow-manager-{kind}.json")
    jsonschema.validate(workflow, schema("workflow-manager"))
    assert workflow["version"] == acuity.__version__
    gateway, tasks = workflow["informatics_gateway"], {task["id"]: task for task in workflow["tasks"]}
    assert len(tasks) == len(workflow["tasks"])
    destinations = Counter(d["name"] for task in tasks.values() for d in task.get("task_destinations", []))
    first = workflow["tasks"][0]["id"]
    assert set(destinations) == set(tasks) - {first} and set(destinations.values()) <= {1}
    for task in tasks.values():
        assert {d["name"] for d in task.get("export_destinations", [])} <= set(gateway["export_destinations"])
        for artifact in task["artifacts"]["input"]:
            for source, name in re.findall(r"context\.executions\.([\w-]+)\.artifacts\.([\w-]+)", artifact["value"]):
                assert name in {output["name"] for output in tasks[source]["artifacts"]["output"]}
    assert gateway["ae_title"] == json.loads(snippets("json")["gateway-ae"])["aeTitle"]
    assert gateway["data_origins"] == [json.loads(snippets("json")["gateway-source"])["name"]]
    assert gateway["export_destinations"] == [json.loads(snippets("json")["gateway-destination"])["name"]]


@pytest.mark.parametrize("kind", ["argo", "docker"])
def test_only_complete_outputs_are_exported(kind: str) -> None:
    """The Docker plug-in calls any exited container a success; folders that only a complete run leaves do not lie."""
    exports = load(f"workflow-manager-{kind}.json")["tasks"][-1]["artifacts"]["input"]
    assert all(artifact["mandatory"] for artifact in exports)
    suffixes = [artifact["value"].partition("}}")[2] for artifact in exports]
    assert suffixes == ["/series", "/seg", "/report", "/overview/overview.dcm"]


def test_the_docker_task_agrees_with_the_image() -> None:
    task = load("workflow-manager-docker.json")["tasks"][0]
    args, variables = task["args"], image_variables()
    assert args["container_image"] == IMAGE
    dockerfile = (REPOSITORY / "packaging" / "Dockerfile").read_text(encoding="utf-8")
    assert f'ENTRYPOINT ["{args["command"].removeprefix("exec ")}"]\n' in dockerfile
    for artifact in (*task["artifacts"]["input"], *task["artifacts"]["output"]):  # the plug-in mounts where args say
        assert args[artifact["name"]] == variables[artifact["name"].removeprefix("env_")]
    assert args["env_OMP_NUM_THREADS"] == str(resources()["cpu"])


def test_the_docker_daemon_s_snippet_is_json() -> None:
    assert json.loads(snippets("json")["docker-daemon"])["runtimes"]["nvidia"] == {"path": "runc"}


# Kubernetes and Argo


def kubernetes_documents() -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes-job.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("version", ["1.31", "1.37"])  # the first with podFailurePolicy for good; the newest known here
def test_kubernetes_accepts_the_manifests(version: str) -> None:
    import kubernetes_validate  # type: ignore[import-untyped]

    documents = kubernetes_documents()
    assert [document["kind"] for document in documents] == ["Job", "NetworkPolicy"]
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    documents[0]["spec"]["template"]["spec"]["containers"][0]["memory"] = "8Gi"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents[0], version, strict=True)


def test_a_job_is_tried_again_only_where_that_may_help() -> None:
    ignore, fail = kubernetes_documents()[0]["spec"]["podFailurePolicy"]["rules"]
    assert (ignore["action"], fail["action"]) == ("Ignore", "FailJob")
    assert fail["onExitCodes"]["values"] == [2, *REFUSALS]


def test_the_network_policy_closes_the_job_s_network() -> None:
    job, policy = kubernetes_documents()
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & set(policy["spec"])  # a list there would be one of exceptions


def test_argo_accepts_template_and_workflow() -> None:
    from hera.workflows.models import Workflow, WorkflowTemplate
    from pydantic import ValidationError

    template = load("argo-workflow-template.yaml")
    WorkflowTemplate.model_validate(template, extra="forbid", by_alias=True, by_name=False)
    workflow = yaml.safe_load(snippets("yaml")["argo-workflow"])
    Workflow.model_validate(workflow, extra="forbid", by_alias=True, by_name=False)
    assert workflow["spec"]["workflowTemplateRef"]["name"] == template["metadata"]["name"]
    (main,) = template["spec"]["templates"]
    assert [a["name"] for a in workflow["spec"]["arguments"]["artifacts"]] == [
        a["name"] for a in main["inputs"]["artifacts"]
    ]
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


def test_argo_tries_again_only_where_that_may_help() -> None:
    retry = load("argo-workflow-template.yaml")["spec"]["templates"][0]["retryStrategy"]
    again = {int(code) for code in re.findall(r"\d+", retry["expression"].partition(" in ")[2])}
    assert again == {1, 137, 143}
    assert not again & {2, *REFUSALS}


@pytest.mark.parametrize("host", ["kubernetes", "argo"])
def test_pods_have_limits_and_no_rights(host: str) -> None:
    if host == "kubernetes":
        pod = kubernetes_documents()[0]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    else:
        pod = load("argo-workflow-template.yaml")["spec"]
        container = pod["templates"][0]["container"]
    assert container["image"] == IMAGE
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    for kind in ("requests", "limits"):
        assert container["resources"][kind]["memory"] == resources()["memory"]
        assert container["resources"][kind]["cpu"] == str(resources()["cpu"])
    threads = {entry["name"]: entry["value"] for entry in container["env"]}
    assert set(threads.values()) == {str(resources()["cpu"])} and len(threads) == 2
    paths = {mount["mountPath"] for mount in container["volumeMounts"]}
    if host == "argo":
        paths |= {artifact["path"] for artifact in pod["templates"][0]["inputs"]["artifacts"]}
    variables = image_variables()
    expected = {variables[f"HOLOSCAN_{way}_PATH"].rstrip("/") for way in ("INPUT", "OUTPUT")} | {"/tmp"}
    assert paths == expected
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}


# The document itself


def test_every_exit_code_has_one_line() -> None:
    rows = re.findall(r"^\| ([\d, to]+?) \| .* \| .* \|$", DOCUMENT, re.MULTILINE)
    listed: list[int] = []
    for row in rows:
        for part in row.split(","):
            first, _, last = part.strip().partition(" to ")
            listed += range(int(first), int(last or first) + 1)
    assert max(Counter(listed).values()) == 1
    assert {0, 1, 2, *REFUSALS, 130, 137, 143} <= set(listed)


def test_one_version_everywhere() -> None:
    files = [*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.json"), DEPLOY / "mercure" / "Dockerfile"]
    text = DOCUMENT + "".join(file.read_text(encoding="utf-8") for file in files)
    assert set(re.findall(r"acuity:(\d+\.\d+\.\d+)-(cpu|sdk|mercure)", text)) == {
        (acuity.__version__, flavour) for flavour in ("cpu", "sdk", "mercure")
    }
    assert set(re.findall(r'app\.kubernetes\.io/version: "(.+?)"', text)) == {acuity.__version__}


def test_files_and_links_exist() -> None:
    for name in re.findall(r"\b(deploy/[\w./-]+|benchmarks/\w+\.py)", DOCUMENT):
        assert (REPOSITORY / name.rstrip(".")).exists(), name
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", DOCUMENT):
        assert link.startswith("https://") or (REPOSITORY / "docs" / link).is_file(), link
