"""What goes into the image: locked with hashes, of known licenses, listed in a valid bill, audited."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from acuity.errors import DataError
from tools.package_manifests import BUNDLES, Revision
from tools.supply_chain.audit import audit
from tools.supply_chain.licenses import (
    PAGE,
    Policy,
    license_of,
    page,
    read_metadata,
    read_page,
    read_policy,
    violations,
)
from tools.supply_chain.lock import IMAGE, LOCK, REPOSITORY, WORKBENCH_LOCKS, read_dependents, read_versions
from tools.supply_chain.sbom import bill_of_materials
from tools.supply_chain.weights import read_weights

REVISION = Revision("c" * 40, 1_700_000_000)


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    return read_versions(LOCK.read_text())


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return bill_of_materials(REVISION)


def requirements(file: Path) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}


# The lock


def test_every_line_of_the_lock_is_understood(versions: dict[str, str]) -> None:
    lines = [line for line in LOCK.read_text().splitlines() if line[:1] not in ("", " ", "#")]
    assert len(lines) == len(versions) > 80


def test_the_lock_is_what_is_asked_for_within_the_bounds(repository: Path, versions: dict[str, str]) -> None:
    bounds, asked = requirements(repository / "requirements.txt"), requirements(IMAGE / "requirements.in")
    for name in asked:
        assert name in versions, f"{name} is not in the lock: deploy/image/README.md has the command"
        assert name in bounds or asked[name].specifier, f"{name} has no bound"
    for name in versions.keys() & bounds.keys():
        assert bounds[name].specifier.contains(versions[name]), f"{name} {versions[name]} is not {bounds[name]}"
    direct = {name for name, dependents in read_dependents(LOCK.read_text()).items() if "" in dependents}
    assert direct == asked.keys()


def test_no_cuda_but_the_runtime_that_holoscan_loads(versions: dict[str, str]) -> None:
    assert {name for name in versions if name.startswith("nvidia-") or name == "triton"} == {"nvidia-cuda-runtime"}
    assert versions["torch"].endswith("+cpu")


def test_dependents_are_read_from_the_comments() -> None:
    hashes = " \\\n    --hash=sha256:" + "a" * 64
    lock = f"One.Two==1.0+cpu{hashes}{hashes}\n    # via three\n"
    lock += f"three==2{hashes}\n    # via\n    #   -c b.txt\n    #   -r a.in\n"
    assert read_versions(lock) == {"one-two": "1.0+cpu", "three": "2"}
    assert read_dependents(lock) == {"one-two": ["three"], "three": [""]}


# Licenses


def test_the_page_of_licenses_is_current(versions: dict[str, str]) -> None:
    """Where this environment holds another version than the lock, the page's own statement is taken."""
    metadata = {**read_page(), **{n: m for n, m in read_metadata(versions).items() if m[0] == versions[n]}}
    assert PAGE.read_text() == page(versions, metadata, read_weights()), (
        "run `python tools/supply_chain/licenses.py --write` where the lock is installed"
    )
    assert read_policy().determined.keys() <= versions.keys()


def test_licenses_of_other_versions_are_not_taken(versions: dict[str, str]) -> None:
    with pytest.raises(DataError, match="does not hold the locked versions of torch"):
        page(versions, {**read_page(), "torch": ("2.12.0", "MIT")}, [])


def test_an_unknown_license_is_an_error() -> None:
    policy = Policy({}, {}, {"known": {"license": "MIT", "source": "LICENSE"}})
    assert (license_of("other", "mit", policy), license_of("known", "UNKNOWN", policy)) == ("MIT", "MIT")
    for stated in ("UNKNOWN", "BSD", "see the web page"):
        with pytest.raises(DataError, match="license of other is not known.*Read the license texts"):
            license_of("other", stated, policy)


def test_the_policy_finds_each_fault() -> None:
    policy = Policy({"MIT": "fine", "Zlib": "fine"}, {"LicenseRef-Own": {"components": ["holder"]}}, {})
    good = {"a": "MIT AND Zlib", "holder": "LicenseRef-Own", "holder/file": "(MIT OR Zlib) AND LicenseRef-Own"}
    assert violations(good, policy) == []
    for expression in ("MIT AND GPL-3.0-only", "MIT OR GPL-3.0-only"):
        assert violations({"other": expression}, policy) == ["other: GPL-3.0-only is not allowed"]
    assert violations({"other": "LicenseRef-Own"}, policy) == ["other: LicenseRef-Own is allowed for holder only"]
    exception = "GPL-3.0-or-later WITH GCC-exception-3.1"
    assert violations({"other": exception}, policy) == [f"other: {exception} is not allowed"]


def test_the_license_of_every_bundle_is_stated(repository: Path) -> None:
    stated = yaml.safe_load((IMAGE / "weights.yaml").read_text())["bundles"]
    assert stated.keys() == {folder.name for folder in (repository / "bundles").iterdir() if folder.is_dir()}


def test_weights_inside_packages_are_those_that_are_stated(versions: dict[str, str]) -> None:
    inside = [item for item in read_weights() if item.package]
    assert inside
    for item in inside:
        assert versions[item.package] == item.version == distribution(item.package).version
        file = Path(str(distribution(item.package).locate_file(item.file)))
        assert hashlib.sha256(file.read_bytes()).hexdigest() == item.sha256


# The bill of materials


def errors(bill: dict[str, Any]) -> object:
    """What CycloneDX's own library finds wrong; None for a valid bill."""
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))


def test_the_bill_of_materials_is_valid(bill: dict[str, Any]) -> None:
    assert errors(bill) is None
    broken = deepcopy(bill)
    broken["components"][-1]["type"] = "model"
    assert errors(broken) is not None


def test_the_bill_lists_packages_weights_and_acuity(
    repository: Path, versions: dict[str, str], bill: dict[str, Any]
) -> None:
    components = {component["name"]: component for component in bill["components"]}
    models = {name for name, component in components.items() if component["type"] == "machine-learning-model"}
    assert models == {*BUNDLES, "deepbet/model", "deepbet/bbox_model"}
    assert components.keys() - models == versions.keys()
    for name in BUNDLES:
        weights = (repository / "bundles" / name / "models" / "model.pt").read_bytes()
        assert components[name]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(weights).hexdigest()}]
        assert "BraTS" in components[name]["modelCard"]["modelParameters"]["datasets"][0]["description"]
    assert components["torch"]["purl"] == f"pkg:pypi/torch@{versions['torch'].replace('+', '%2B')}"
    hashes = components["torch"]["externalReferences"][0]["hashes"]
    assert hashes and all(f"sha256:{entry['content']}" in LOCK.read_text() for entry in hashes)
    assert all(component["licenses"][0]["expression"] for component in components.values())


def test_every_component_of_the_bill_is_reached_from_acuity(bill: dict[str, Any]) -> None:
    graph = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    reached: set[str] = set()
    pending = [bill["metadata"]["component"]["bom-ref"]]
    while pending:
        reference = pending.pop()
        if reference not in reached:
            reached.add(reference)
            pending += graph[reference]
    assert reached == graph.keys()
    assert {component["bom-ref"] for component in bill["components"]} < reached


def test_the_bill_is_that_of_its_commit(repository: Path, bill: dict[str, Any]) -> None:
    assert bill_of_materials(REVISION) == bill
    assert bill["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert bill_of_materials(Revision("d" * 40, REVISION.time))["serialNumber"] != bill["serialNumber"]
    assert str(repository) not in json.dumps(bill)


# The audit


class VulnerabilityService(BaseHTTPRequestHandler):
    """Answers as OSV does (api.osv.dev/v1/query): setuptools has a vulnerability, nothing else does."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, Any] = {}
        if query["package"] == {"name": "setuptools", "ecosystem": "PyPI"}:
            affected = {"package": query["package"], "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "99.0"}]}]}
            answer = {"vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "bad", "affected": [affected]}]}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[list[str]]:
    """Options of pip-audit for a service of vulnerabilities on this machine."""
    server = HTTPServer(("127.0.0.1", 0), VulnerabilityService)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query"]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_the_audit_ends_with_1_for_findings_that_are_not_explained(
    osv: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    pins = {"setuptools": "84.0.0", "torch": "2.13.0+cpu"}
    assert audit(pins, [], osv) == 1
    assert "PYSEC-1" in capfd.readouterr().out
    assert audit(pins, ["CVE-1"], osv) == 0
    assert audit({"torch": "2.13.0+cpu"}, [], osv) == 0


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_is_no_clean_audit() -> None:
    assert audit({"setuptools": "84.0.0"}, [], ["--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:1/"])


def test_findings_are_explained_in_words() -> None:
    explained = yaml.safe_load((IMAGE / "vulnerabilities.yaml").read_text())
    assert all(isinstance(reason, str) for reason in explained.values())


def test_the_locks_of_the_workbench_hold_what_it_needs_within_its_bounds() -> None:
    """All of requirements.txt, and what is installed without its dependencies; each with a hash."""
    texts = [lock.read_text() for lock in WORKBENCH_LOCKS]
    pins = read_versions(texts[0]) | read_versions(texts[1])
    assert len(pins) == sum(len(re.findall("^[^ #]+==", text, re.MULTILINE)) for text in texts)  # none without a hash
    lines = (REPOSITORY / "requirements.txt").read_text() + (REPOSITORY / "requirements-nodeps.txt").read_text()
    for line in lines.splitlines():
        text = line.partition("#")[0].strip()
        needed = Requirement(text) if text else None
        if needed and (needed.marker is None or needed.marker.evaluate({"python_version": "3.11"})):
            assert needed.specifier.contains(pins[canonicalize_name(needed.name)]), needed
