"""The viewer's files: OHIF's built distribution, with the configuration and the extension of ours over it."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from workbench.refusal import not_allowed

OURS = Path(__file__).resolve().parent / "ohif"
_OWN_FILES = {"app-config.js", *(f"acuity/{file.name}" for file in OURS.glob("*.js") if file.name != "app-config.js")}
_UNCHANGING = re.compile(r".*\.[0-9a-f]{16}\.(?:js|css)|[0-9a-f]{16}\.wasm")  # the name holds the content's hash
_NOT_KEPT = {"cache-control": "no-store"}


class Viewer:
    """OHIF behind the gateway.

    Parameters
    ----------
    folder : the distribution, with its ``index.html``
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve(strict=True)
        # Of scripts too: a worker goes by the policy that its own file came with.
        self._headers = {"content-security-policy": self._policy()}

    def _policy(self) -> str:
        """The Content-Security-Policy that OHIF can live with.

        Nothing comes from elsewhere and no script is loaded but those of this origin and the inline ones of OHIF's
        page, by their hashes. Cornerstone compiles WebAssembly and makes workers of blobs; dcmjs reads segmentations
        with ndarray, which compiles its loops (unsafe-eval); elements are styled inline.
        """
        page = (self._folder / "index.html").read_text(encoding="utf-8")
        inline = [text.encode() for text in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)]
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in inline]
        scripts = " ".join(["'self'", "'unsafe-eval'", *hashes])
        return (
            f"default-src 'none'; script-src {scripts}; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; manifest-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
        )

    async def answer(self, request: Request) -> Response:
        """A file, or OHIF's page for an address of the viewer itself (/, /viewer, /segmentation, ...).

        Raises
        ------
        Refusal
            For a file that is not there, and for a path that leads out of the folder.
        """
        path = request.path_params["path"]
        if path in _OWN_FILES:
            return FileResponse(
                OURS / path.removeprefix("acuity/"), media_type="text/javascript", headers=_NOT_KEPT | self._headers
            )
        if "\0" in path:
            raise not_allowed("A path that is not valid.")
        file = (self._folder / path).resolve()
        try:
            found = file.is_relative_to(self._folder) and file.is_file()
        except OSError as error:  # a name that no file system takes
            raise not_allowed("A path that is not valid.") from error
        if found:
            cached = "private, max-age=31536000, immutable" if _UNCHANGING.fullmatch(file.name) else "no-cache"
            return FileResponse(file, headers={"cache-control": cached} | self._headers)
        if "." in path.rpartition("/")[2] or not file.is_relative_to(self._folder):
            raise not_allowed("A file that the viewer does not have.")
        return FileResponse(self._folder / "index.html", headers=_NOT_KEPT | self._headers)
