from __future__ import annotations

from pathlib import Path

import acuity


def test_the_packager_accepts_it(repository: Path) -> None:
    from holoscan_cli.packager.config_reader import ApplicationConfiguration

    config = ApplicationConfiguration()
    config.read(repository / "app.yaml")
    assert config._config is not None
    assert config.title().startswith("Acuity")
    assert config.pip_packages() is None  # the packager joins them without newlines
    application = config._config["application"]
    assert application["version"] == acuity.__version__  # quoted: YAML reads a bare 1.0 as a number
    assert application["input-formats"] and application["output-formats"]
    assert {"cpu", "gpu", "memory"} <= set(config._config["resources"])
