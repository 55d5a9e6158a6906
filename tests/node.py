"""The viewer's JavaScript, run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence as Seq
from typing import Any

import pytest

from workbench.viewer import OURS


def node(*args: str, given: str = "") -> str:
    """Run node and return its output; skip the test where node is not installed."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed; the viewer's JavaScript is tested with it")
    done = subprocess.run([program, *args], input=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def through(module: str, expression: str, values: Seq[Any]) -> list[Any]:
    """Each value as JSON through a JavaScript expression of ``value``, which names the module's exports as ``m``."""
    script = f"""
        import {{ readFileSync }} from "node:fs";
        import * as m from {json.dumps((OURS / module).as_uri())};
        const values = JSON.parse(readFileSync(0, "utf8"));
        console.log(JSON.stringify(values.map((value) => {expression})));
    """
    found: list[Any] = json.loads(node("--input-type=module", "--eval", script, given=json.dumps(values)))
    return found
