"""What the gateway answers when it does not let a request pass."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Refusal(Exception):  # noqa: N818 - not a failure of the gateway, but an answer of it
    """A request that breaks a rule.

    Parameters
    ----------
    status : of HTTP, 400 to 599
    code : a stable name for programs
    found : what was found; never a patient identifier, and never a value that could hold one
    rule : the rule that it breaks
    remedy : what the user can do
    """

    def __init__(self, status: int, code: str, found: str, *, rule: str, remedy: str) -> None:
        self.status, self.code, self.found, self.rule, self.remedy = status, code, found, rule, remedy
        super().__init__(f"{found} {rule} {remedy}")

    def response(self) -> Response:
        """The answer as JSON: ``{"code", "found", "rule", "remedy", "detail"}``.

        ``detail`` repeats the text in one string, where clients of MONAI Label look for it.
        """
        content = {"code": self.code, "found": self.found, "rule": self.rule, "remedy": self.remedy}
        headers = {"cache-control": "no-store"} | ({"www-authenticate": "Bearer"} if self.status == 401 else {})
        return JSONResponse({**content, "detail": str(self)}, self.status, headers)


async def answer(_: Request, refusal: Exception) -> Response:
    """Starlette's handler of refusals raised by an endpoint."""
    assert isinstance(refusal, Refusal)
    return refusal.response()


def not_allowed(found: str) -> Refusal:
    """A path or method that is on no list of what may pass."""
    return Refusal(
        404,
        "not-allowed",
        found,
        rule="The gateway passes on the calls of its lists only (workbench/dicomweb_rules.py, label_rules.py).",
        remedy="Use one of them.",
    )


def bad_value(found: str, rule: str) -> Refusal:
    """An identifier, name or parameter that is not of its form."""
    return Refusal(400, "bad-value", found, rule=rule, remedy="Correct the request.")
