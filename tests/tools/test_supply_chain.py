"""What goes into the image: locked with hashes, of known licenses, listed in a valid bill, audited."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from acuity.errors import DataError
from tools.supply_chain import audit, licenses
from tools.supply_chain.licenses import Policy, Reference, license_of, read_policy, violations
from tools.supply_chain.lock import lock_text, locked_before, packages_of, resolve
from tools.supply_chain.packages import LOCK, RECORD, Package, read_packages, read_pins, record_text, wanted
from tools.supply_chain.sbom import bill_of_materials, text_of
from tools.supply_chain.weights import IN_THE_IMAGE, WEIGHTS, read_weights

COMMIT, TIME = "c" * 40, 1_700_000_000
PACKAGE = Package("example", "1.0", "An example", "example-1.0-py3-none-any.whl", "0" * 64, "MIT", (), ())
# Folders of the repository that the image does not hold, see tools/package_content.py.
OURS = {"acuity", "operators"}


@pytest.fixture(scope="module")
def packages(repository: Path) -> list[Package]:
    return read_packages(repository)


@pytest.fixture(scope="module")
def bill(repository: Path) -> dict[str, Any]:
    return bill_of_materials(repository, COMMIT, TIME)


def bounds(file: Path) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}


def imported_from(file: Path, repository: Path, seen: set[Path]) -> Iterator[str]:
    """Top-level names that a module imports, and those that our modules it imports import in turn."""
    if file in seen:
        return
    seen.add(file)
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.partition(".")[0] not in OURS:
                yield name.partition(".")[0]
            elif (module := (repository / name.replace(".", "/")).with_suffix(".py")).is_file():
                yield from imported_from(module, repository, seen)


def test_the_lock_is_within_the_bounds_of_the_requirements(repository: Path, packages: list[Package]) -> None:
    pinned, required = {p.name: p.version for p in packages}, bounds(repository / "requirements.txt")
    for requirement in wanted(repository):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is asked for and not in the lock: run tools/supply_chain/lock.py"
        assert name in required or requirement.specifier, f"{name} has no bound"
    for both in pinned.keys() & required.keys():
        assert required[both].specifier.contains(pinned[both]), f"{both} {pinned[both]} is not {required[both]}"
    assert {"torch", "monai", "pydicom"} <= pinned.keys() & required.keys()


def test_the_lock_is_complete_and_has_hashes(repository: Path, packages: list[Package]) -> None:
    names = {package.name for package in packages}
    assert names == set(read_pins((repository / LOCK).read_text()))
    assert {need for package in packages for need in package.requires} <= names
    needed = {need for package in packages for need in package.requires}
    asked = {canonicalize_name(requirement.name) for requirement in wanted(repository)}
    assert names == needed | asked, "something is locked that nothing needs"
    assert all(package.file.endswith(".whl") for package in packages)


def test_no_cuda_but_the_runtime_that_holoscan_loads(packages: list[Package]) -> None:
    found = {p.name: p.version for p in packages}
    assert {name for name in found if name.startswith("nvidia-") or name == "triton"} == {"nvidia-cuda-runtime"}
    assert found["torch"].endswith("+cpu")


def test_every_import_of_the_application_is_served(repository: Path) -> None:
    seen: set[Path] = set()
    imported = set(imported_from(repository / "app.py", repository, seen))
    for bundle in IN_THE_IMAGE:
        config = repository / "bundles" / bundle / "configs" / "inference.json"
        for target in re.findall(r'"(acuity\.[\w.]+)\.\w+"', config.read_text()):
            module = (repository / target.replace(".", "/")).with_suffix(".py")
            imported |= set(imported_from(module, repository, seen))
    assert {"torch", "highdicom", "deepbet"} <= imported and len(seen) > 50
    asked = {canonicalize_name(requirement.name) for requirement in wanted(repository)}
    providers = packages_distributions()
    for name in sorted(imported - set(sys.stdlib_module_names)):
        offered = {canonicalize_name(provider) for provider in providers[name]}
        assert offered & asked, (
            f"{name} is imported by the application, but packaging/requirements-cpu.in has none of {offered}"
        )


def test_a_pin_without_a_hash_is_refused() -> None:
    text = "good==1.0 \\\n    --hash=sha256:" + "a" * 64 + "\n    # needed by other\n"
    assert read_pins(text) == {"good": ("1.0", "a" * 64)}
    with pytest.raises(DataError, match="bad==2.0.*Each package is a pin with one hash"):
        read_pins(text + "bad==2.0\n")
    with pytest.raises(DataError, match="a pin with one hash"):
        read_pins("bad>=2.0 \\\n    --hash=sha256:" + "a" * 64 + "\n")


def test_lock_and_record_that_differ_are_refused(tmp_path: Path) -> None:
    for name in (LOCK, RECORD):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / LOCK).write_text(lock_text([PACKAGE], date(2026, 1, 2)))
    (tmp_path / RECORD).write_text(record_text([PACKAGE]))
    assert read_packages(tmp_path) == [PACKAGE]
    assert locked_before(tmp_path) == date(2026, 1, 2)
    (tmp_path / RECORD).write_text(record_text([replace(PACKAGE, sha256="1" * 64)]))
    with pytest.raises(DataError, match=r"differ in example\.* Both are made together"):
        read_packages(tmp_path)


def report_entry(name: str, *needs: str, **metadata: Any) -> dict[str, Any]:
    """An item of pip's installation report."""
    return {
        "download_info": {
            "url": f"https://example.org/{name}-1.0%2Bcpu-py3-none-any.whl",
            "archive_info": {"hashes": {"sha256": "0" * 64}},
        },
        "metadata": {"name": name, "version": "1.0", "requires_dist": list(needs), **metadata},
    }


def test_extras_and_markers_decide_who_needs_whom() -> None:
    report = [
        report_entry("Root", "middle[fast]", "absent; sys_platform == 'win32'"),
        report_entry("middle", "base", "quick; extra == 'fast'", "slow; extra == 'slow'"),
        report_entry("base", "middle"),  # a circle ends
        report_entry("quick", license="MIT", classifier=["License :: OSI Approved :: MIT License", "Topic :: X"]),
    ]
    base, middle, quick, root = packages_of(report, [Requirement("root")])
    assert (root.name, root.requires, middle.requires) == ("root", ("middle",), ("base", "quick"))
    assert (quick.license, quick.classifiers, base.requires) == ("MIT", ("MIT License",), ("middle",))
    assert quick.file == "quick-1.0+cpu-py3-none-any.whl"


def test_another_platform_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(DataError, match="for Linux x86_64 and Python 3.11"):
        resolve(repository, date(2026, 1, 2), "nowhere")


def test_the_page_of_licenses_is_current(repository: Path, packages: list[Package]) -> None:
    text = licenses.page(packages, read_weights(repository), read_policy(repository))
    assert (repository / licenses.PAGE).read_text() == text, "run `python tools/supply_chain/licenses.py --write`"


def test_an_unknown_license_is_a_failure(repository: Path) -> None:
    policy = read_policy(repository)
    assert license_of(PACKAGE, policy) == "MIT"
    for stated in ("", "BSD", "see the web page"):
        with pytest.raises(DataError, match="license of example 1.0 is not known.*Read the license texts"):
            license_of(replace(PACKAGE, license=stated), policy)


def test_the_policy_finds_each_fault() -> None:
    reference = Reference(("holder",), "LICENSE", "a reason")
    policy = Policy({"MIT": "fine", "Zlib": "fine"}, {"LicenseRef-Own": reference}, {"gone": ("MIT", "LICENSE")})
    good = {"gone": "MIT AND Zlib", "holder": "LicenseRef-Own", "holder/file": "(MIT OR Zlib) AND LicenseRef-Own"}
    assert violations(good, policy) == []
    assert violations(good | {"other": "MIT AND GPL-3.0-only"}, policy) == ["other: GPL-3.0-only is not allowed"]
    assert violations(good | {"other": "MIT OR GPL-3.0-only"}, policy) == ["other: GPL-3.0-only is not allowed"]
    assert violations(good | {"other": "LicenseRef-Own"}, policy) == [
        "other: LicenseRef-Own is allowed for holder only"
    ]
    assert violations({"holder": "MIT"}, policy) == ["gone: stands under `determined`, and is not in the image"]
    exception = {"other": "GPL-3.0-or-later WITH GCC-exception-3.1", "gone": "MIT"}
    assert violations(exception, policy) == ["other: GPL-3.0-or-later WITH GCC-exception-3.1 is not allowed"]


def test_weights_inside_packages_are_those_that_are_stated(repository: Path, packages: list[Package]) -> None:
    locked = {package.name: package.version for package in packages}
    inside = [item for item in read_weights(repository) if item.package]
    assert inside
    for item in inside:
        assert locked[item.package] == item.version, f"{WEIGHTS} speaks of another version"
        if version(item.package) == item.version:
            file = distribution(item.package).locate_file(item.file)
            assert hashlib.sha256(Path(str(file)).read_bytes()).hexdigest() == item.sha256


def errors(bill: dict[str, Any]) -> object:
    """What CycloneDX's own library finds wrong; None for a valid bill."""
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))


def test_the_bill_of_materials_is_valid(bill: dict[str, Any]) -> None:
    assert errors(bill) is None
    broken = deepcopy(bill)
    broken["components"][-1]["type"] = "model"
    assert errors(broken) is not None


def test_the_bill_lists_packages_weights_and_acuity(repository: Path, bill: dict[str, Any]) -> None:
    components = {component["name"]: component for component in bill["components"]}
    pins = read_pins((repository / LOCK).read_text())
    models = {name for name, component in components.items() if component["type"] == "machine-learning-model"}
    bundles = {"brain_mri_super_resolution", "brain_tumor_segmentation"}
    assert models == bundles | {"deepbet/model", "deepbet/bbox_model"}
    assert components.keys() - models == pins.keys()
    for name in bundles:
        weights = (repository / "bundles" / name / "models" / "model.pt").read_bytes()
        assert components[name]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(weights).hexdigest()}]
        assert "BraTS" in components[name]["modelCard"]["modelParameters"]["datasets"][0]["description"]
    assert components["torch"]["purl"] == f"pkg:pypi/torch@{pins['torch'][0].replace('+', '%2B')}"
    assert all(component["licenses"][0]["expression"] for component in components.values())
    assert bill["metadata"]["component"]["name"] == "acuity-mr"


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
    assert text_of(bill_of_materials(repository, COMMIT, TIME)) == text_of(bill)
    assert bill["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert bill_of_materials(repository, "d" * 40, TIME)["serialNumber"] != bill["serialNumber"]
    assert str(repository) not in text_of(bill)


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
def test_pip_audit_finds_what_the_service_knows(osv: list[str]) -> None:
    pins = {"setuptools": ("84.0.0", "0" * 64), "torch": ("2.13.0+cpu", "0" * 64)}
    answered = audit.run_pip_audit(pins, osv)
    assert {(entry["name"], entry["version"]) for entry in answered} == {("setuptools", "84.0.0"), ("torch", "2.13.0")}
    today = date(2026, 1, 31)
    assert audit.judge(answered, {}, today) == ["setuptools 84.0.0: PYSEC-1 is not explained; fixed in 99.0"]
    explained = audit.read_explanations("CVE-1: {package: setuptools, reason: not run, date: 2026-01-30}")
    assert audit.judge(answered, explained, today) == []


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_is_no_clean_audit() -> None:
    nowhere = ["--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:1/v1/query"]
    with pytest.raises(DataError, match=r"pip-audit gave no result.*Run it where the service can be reached"):
        audit.run_pip_audit({"setuptools": ("84.0.0", "0" * 64)}, nowhere)


def test_explanations_grow_old_and_must_concern_the_package() -> None:
    answered = [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "aliases": [], "fix_versions": []}]}]
    entry = "X-1: {{package: {}, reason: not reached, date: {}}}"
    today = date(2026, 6, 1)
    assert audit.judge(answered, audit.read_explanations(entry.format("a", "2026-05-31")), today) == []
    old = audit.judge(answered, audit.read_explanations(entry.format("a", "2026-01-01")), today)
    assert old == ["X-1 was judged 151 days ago (0 to 90): judge it again"]
    other = audit.judge(answered, audit.read_explanations(entry.format("b", "2026-05-31")), today)
    assert other == [
        "a 1: X-1 is not explained; fixed in no version",
        "X-1 is explained, and b does not have it: remove the entry",
    ]


@pytest.mark.parametrize(
    "entry", ["X-1: because", "X-1: {package: a, reason: b}", "X-1: {package: a, reason: b, date: soon}"]
)
def test_an_explanation_is_given_in_full(entry: str) -> None:
    with pytest.raises(DataError, match="does not explain X-1 in full"):
        audit.read_explanations(entry)


def test_the_explanations_of_the_repository_are_read(repository: Path) -> None:
    audit.read_explanations((repository / audit.EXPLAINED).read_text())
