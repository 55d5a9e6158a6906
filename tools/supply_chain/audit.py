"""Asks for known vulnerabilities of the locked packages: pip-audit on the locks of image and workbench.

Arguments go to pip-audit, for example `--vulnerability-service osv`. Findings that `deploy/image/vulnerabilities.yaml`
explains are passed over. Any other finding, and a package that the service does not answer for, ends it with 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from tools.supply_chain.lock import IMAGE, LOCK, WORKBENCH_LOCKS, read_versions


def audit(versions: dict[str, str], explained: Sequence[str], options: Sequence[str] = ()) -> int:
    """Run pip-audit and return its exit code.

    Parameters
    ----------
    versions : name -> version; the services know no local part (+cpu), so that it is left out
    explained : identifiers of the findings that do not matter
    options : further arguments of pip-audit
    """
    ignored = [word for name in explained for word in ("--ignore-vuln", name)]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("".join(f"{name}=={pin.partition('+')[0]}\n" for name, pin in versions.items()))
        # --strict: a package that the service does not know is a failure, too
        command = ["pip_audit", "--strict", "--no-deps", "--disable-pip", "--requirement", str(requirements)]
        return subprocess.run([sys.executable, "-m", *command, *ignored, *options], check=False).returncode


if __name__ == "__main__":
    explanations: dict[str, str] = yaml.safe_load((IMAGE / "vulnerabilities.yaml").read_text()) or {}
    codes = [
        audit(read_versions(lock.read_text()), list(explanations), sys.argv[1:]) for lock in (LOCK, *WORKBENCH_LOCKS)
    ]
    sys.exit(max(codes))
