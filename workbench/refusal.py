"""The gateway's answer to a request that it does not let pass."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response


class Refusal(Exception):  # noqa: N818 - not a failure of the gateway, but one of its answers
    """A request that breaks a rule.

    Parameters
    ----------
    status : HTTP status, 400 to 599
    code : a stable name for programs
    found : what was found; never a patient identifier, and never a value that could hold one
    rule : the rule that it breaks
    remedy : what the user can do
    """

    def __init__(self, status: int, code: str, found: str, rule: str, remedy: str) -> None:
        self.status, self.code, self.found, self.rule, self.remedy = status, code, found, rule, remedy
        super().__init__(f"{found} {rule} {remedy}")

    def response(self) -> Response:
        """The answer as JSON: ``{"code", "found", "rule", "remedy", "detail"}``.

        ``detail`` repeats the text in one string, where clients of MONAI Label look for it.
        """
        content = {"code": self.code, "found": self.found, "rule": self.rule, "remedy": self.remedy}
        headers = {"cache-control": "no-store"} | ({"www-authenticate": "Bearer"} if self.status == 401 else {})
        return JSONResponse({**content, "detail": str(self)}, self.status, headers)


def not_allowed(found: str) -> Refusal:
    """A path or method that is not in the table."""
    rule = "The gateway passes on the calls of one table (workbench/rules.py) only."
    return Refusal(404, "not-allowed", found, rule, "Use one of them.")


def bad_value(found: str, rule: str) -> Refusal:
    """An identifier, name or parameter of the wrong form."""
    return Refusal(400, "bad-value", found, rule, "Correct the request.")
