"""The released bundles that take part in an evaluation, or make a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from acuity.errors import BundleError, BundleNotFoundError
from acuity.models.bundle import Bundle, load_bundle


def find_bundles(
    models: Path, suits: Callable[[Bundle], bool], task: str, names: Iterable[str] | None = None
) -> list[Bundle]:
    """Bundles by their names, or all in ``models`` that suit.

    Parameters
    ----------
    task : what a bundle that suits does: "segments"

    Raises
    ------
    BundleNotFoundError : a name that is not there, or no bundle that suits
    BundleError : one that cannot be loaded, or is named and does not suit
    """
    present = (path.parent.parent.name for path in sorted(models.glob("*/configs/metadata.json")))
    bundles = [load_bundle(models, name) for name in (present if names is None else names)]
    found = [bundle for bundle in bundles if suits(bundle)]
    for bundle in bundles if names is not None else ():
        if bundle not in found:
            raise BundleError(
                f"The bundle {bundle.name} is none that {task}.",
                rule="A bundle's network does what is asked of it.",
                remedy=f"Name one that {task}.",
            )
    if not found:
        raise BundleNotFoundError(
            f"{models} holds no bundle that {task}.",
            rule="Models are looked for in a folder of bundles.",
            remedy="Name the folder of the released bundles.",
        )
    return found


def bundle_origin(bundle: Bundle) -> dict[str, object]:
    """What tells its weights from all others."""
    return {"bundle": bundle.name, "version": bundle.version, "sha256": bundle.weights_sha256}
