"""Everything that can be wrong with a request: one word each, its status, and what to do about it (RFC 9457)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:device-readings:problem:"
AWAY_RETRY_AFTER_S: Final = 5


class Problem(StrEnum):
    """The `code` of a problem; its `type` is `urn:device-readings:problem:<code>`."""

    BODY_MALFORMED = "body_malformed"
    KEY_MISSING = "key_missing"
    KEY_UNKNOWN = "key_unknown"
    KEY_EXPIRED = "key_expired"
    SECRET_WRONG = "secret_wrong"  # noqa: S105 - a word, and no secret
    NO_SUCH_PATH = "no_such_path"
    DEVICE_UNKNOWN = "device_unknown"
    PATIENT_UNKNOWN = "patient_unknown"
    READING_UNKNOWN = "reading_unknown"
    WEBHOOKS_OFF = "webhooks_off"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_SLOW = "body_too_slow"
    DEVICE_AMBIGUOUS = "device_ambiguous"
    PATIENT_AMBIGUOUS = "patient_ambiguous"
    NOT_AT_CUSTOMER_SITE = "not_at_customer_site"
    NOT_AVAILABLE_AT_SITE = "not_available_at_site"
    NOT_WITH_PATIENT = "not_with_patient"
    WITH_ANOTHER_PATIENT = "with_another_patient"
    READINGS_DISABLED_ALREADY = "readings_disabled_already"
    READINGS_NOT_DISABLED = "readings_not_disabled"
    REPLACED_BY_ITSELF = "replaced_by_itself"
    READING_REFUSED = "reading_refused"
    BODY_TOO_LARGE = "body_too_large"
    NOT_JSON = "not_json"
    INVALID = "invalid"
    TOO_MANY_REQUESTS = "too_many_requests"
    FAULT = "fault"
    AWAY = "away"
    TOO_SLOW = "too_slow"

    @property
    def told(self) -> "Told":
        return _TOLD[self]


class Told(NamedTuple):
    """A problem for people."""

    status: int
    title: str
    todo: str


_TOLD: Final = {
    Problem.BODY_MALFORMED: Told(
        400,
        "The body is not one UTF-8 JSON object.",
        "Send an object: no NaN, no NUL, no lone surrogate, not too deep.",
    ),
    Problem.KEY_MISSING: Told(401, "The request carries no key.", "Send it in the header Impilo-API-Key."),
    Problem.KEY_UNKNOWN: Told(
        401, "There is no such key, or it was revoked.", "Ask the operator for one: readings keys create."
    ),
    Problem.KEY_EXPIRED: Told(401, "The key has expired.", "Ask the operator for a new one: readings keys create."),
    Problem.SECRET_WRONG: Told(
        401, "The header Impilo-Webhook-Secret is missing or wrong.", "Set the platform's secret and ours to the same."
    ),
    Problem.NO_SUCH_PATH: Told(404, "There is nothing at this path.", "See /docs for what there is."),
    Problem.DEVICE_UNKNOWN: Told(
        404, "The customer has no such device.", "Look it up: GET /api/v3/devices; or tell the registry of it first."
    ),
    Problem.PATIENT_UNKNOWN: Told(
        404,
        "The customer has no such patient.",
        "See that id and key are the customer's own; or tell the registry first.",
    ),
    Problem.READING_UNKNOWN: Told(
        404,
        "No such reading of the customer's is stored.",
        "If it was sent a moment ago, ask again; else see rejections.",
    ),
    Problem.WEBHOOKS_OFF: Told(
        404, "This service takes no webhooks.", "Set READINGS_WEBHOOK_SECRET, and start it again."
    ),
    Problem.METHOD_NOT_ALLOWED: Told(405, "This path has no such method.", "See the header Allow, or /docs."),
    Problem.BODY_TOO_SLOW: Told(
        408, "The body did not arrive in time.", "Send it at once; see READINGS_API_RECEIVE_TIMEOUT_S."
    ),
    Problem.DEVICE_AMBIGUOUS: Told(
        409, "The id and the identifier are those of different devices.", "Send one of the two, or two that agree."
    ),
    Problem.PATIENT_AMBIGUOUS: Told(
        409, "More than one patient of the customer is meant.", "Send the patient's id alone."
    ),
    Problem.NOT_AT_CUSTOMER_SITE: Told(
        409, "The device is not at a site of the customer's.", "Wait until the platform has shipped it to one."
    ),
    Problem.NOT_AVAILABLE_AT_SITE: Told(
        409, "The device's status is not availableAtSite.", "Disassociate it, or set its status: PATCH device/{id}."
    ),
    Problem.NOT_WITH_PATIENT: Told(
        409,
        "The device's status is not withPatient.",
        "See GET device/{id}: associate it, or set its status: PATCH device/{id}.",
    ),
    Problem.WITH_ANOTHER_PATIENT: Told(
        409,
        "The device is not associated with that patient.",
        "See whose it is: GET device/{id}. To give it to another: disassociate it first, its status being withPatient.",
    ),
    Problem.READINGS_DISABLED_ALREADY: Told(
        409, "The device's readings are disabled already.", "Nothing: it is as you ask."
    ),
    Problem.READINGS_NOT_DISABLED: Told(
        409,
        "The device's readings are not disabled.",
        "Nothing; if they are refused all the same, see its status: GET device/{id}.",
    ),
    Problem.REPLACED_BY_ITSELF: Told(
        409, "A device cannot be replaced by itself.", "Name another device as the replacement."
    ),
    Problem.READING_REFUSED: Told(
        409,
        "The reading will be refused; `reason` says why.",
        "Nothing: the record is kept among the rejections. A duplicate is stored already; mend any other reason, and"
        " later readings are taken.",
    ),
    Problem.BODY_TOO_LARGE: Told(413, "The body is too large.", "Send less; see READINGS_API_MAX_BODY_BYTES."),
    Problem.NOT_JSON: Told(415, "The body is not said to be JSON.", "Send Content-Type: application/json."),
    Problem.INVALID: Told(
        422, "A field breaks a rule; `detail` names each.", "Mend the fields; see /docs for their rules."
    ),
    Problem.TOO_MANY_REQUESTS: Told(
        429, "This key has asked too often.", "Wait as long as Retry-After says; see READINGS_API_REQUESTS_PER_MINUTE."
    ),
    Problem.FAULT: Told(500, "A fault of this service.", "Tell the operator: the log says where it was."),
    Problem.AWAY: Told(
        503,
        "The database or the broker is away, or too slow.",
        "Ask again; a change may have been done all the same, so look first. A reading sent twice is stored once.",
    ),
    Problem.TOO_SLOW: Told(
        503,
        "What is asked for takes longer than an answer may.",
        "Ask for less: for one device or patient, or from startTimestamp on. See READINGS_API_TIMEOUT_S.",
    ),
}


class ProblemError(Exception):
    """Ends a request with that problem.

    :param detail: what in particular is wrong; never a value that was sent.
    """

    def __init__(
        self,
        problem: Problem,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.detail, self.headers, self.more = problem, detail, headers, more


def answer(error: ProblemError) -> JSONResponse:
    """The problem as an answer."""
    told = error.problem.told
    detail = {} if error.detail is None else {"detail": error.detail}
    headers = dict(error.headers or {})
    if error.problem is Problem.AWAY:
        headers.setdefault("Retry-After", str(AWAY_RETRY_AFTER_S))
    if told.status == 401:  # noqa: PLR2004 - HTTP's own number
        headers.setdefault("WWW-Authenticate", "ApiKey")
    body = {
        "type": _TYPE + error.problem,
        "title": told.title,
        "status": told.status,
        "code": error.problem,
        "todo": told.todo,
    }
    return JSONResponse(body | detail | dict(error.more or {}), told.status, headers, MEDIA_TYPE)
