"""How FCM says no: the error answers of the HTTP v1 API, in Google's error format."""

import msgspec
from starlette.responses import JSONResponse

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An error answer in Google's format; `error_code` is FCM's own code inside `details`."""

    http_status: int
    status: str
    error_code: str
    message: str
    headers: dict[str, str] = {}

    def response(self) -> JSONResponse:
        """The answer on the wire."""
        details = [{"@type": _FCM_ERROR, "errorCode": self.error_code}]
        error = {"code": self.http_status, "message": self.message, "status": self.status, "details": details}
        return JSONResponse({"error": error}, self.http_status, self.headers)


def invalid(message: str) -> Refusal:
    return Refusal(http_status=400, status="INVALID_ARGUMENT", error_code="INVALID_ARGUMENT", message=message)


UNREGISTERED = Refusal(
    http_status=404, status="NOT_FOUND", error_code="UNREGISTERED", message="Requested entity was not found."
)
INVALID = invalid("The registration token is not a valid FCM registration token")
MISMATCH = Refusal(
    http_status=403, status="PERMISSION_DENIED", error_code="SENDER_ID_MISMATCH", message="SenderId mismatch"
)
QUOTA = Refusal(
    http_status=429,
    status="RESOURCE_EXHAUSTED",
    error_code="QUOTA_EXCEEDED",
    message="Resource has been exhausted (e.g. check quota).",
    headers={"Retry-After": "1"},
)
UNAVAILABLE = Refusal(
    http_status=503, status="UNAVAILABLE", error_code="UNAVAILABLE", message="The service is currently unavailable."
)
UNAUTHENTICATED = Refusal(
    http_status=401,
    status="UNAUTHENTICATED",
    error_code="UNAUTHENTICATED",
    message="Request is missing required authentication credential.",
)
INTERNAL = Refusal(http_status=500, status="INTERNAL", error_code="INTERNAL", message="Internal error encountered.")
