"""JSON, numbers and times as the contract reads them (design: "Numbers and times", rule 1 of the law)."""

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Final

from msgspec import Meta
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, from_json

from schemas.plain import instant, may_be_deeper_than

EARLIEST_INSTANT: Final = datetime.min.replace(tzinfo=UTC)
"""Stands for "always", -infinity in the database, and for any instant before the year 1 of UTC."""
LATEST_INSTANT: Final = datetime.max.replace(tzinfo=UTC)

RFC3339: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
"""`date-time` of RFC 3339 section 5.6, letters in either case; the calendar itself is checked by the parser."""


class MalformedError(ValueError):
    """The bytes are not what rule 1 asks for. The message names the rule and never the content."""


def parse_object(value: bytes | None, *, max_bytes: int, max_depth: int) -> dict[str, Any]:
    """The one JSON object that the bytes hold; of repeated keys the last counts.

    :raises MalformedError: for anything else: rule 1 of the law, told apart in the message.
    """
    if not value:
        raise MalformedError("no bytes")  # a null value; it is kept as no bytes, and judged again as such
    if len(value) > max_bytes:
        raise MalformedError(f"larger than {max_bytes} bytes")
    try:
        document = from_json(value, allow_inf_nan=False)
    except ValueError:
        # The parser's own words may quote what it met; ours do not.
        raise MalformedError("not one UTF-8 JSON object") from None
    if not isinstance(document, dict):
        raise MalformedError("not one UTF-8 JSON object")
    # Both are asked of the bytes, since what a repeated key overwrites is no longer in the document.
    if may_be_deeper_than(value, max_depth) and _deeper_than(value, max_depth):
        raise MalformedError(f"nested deeper than {max_depth}")
    if b"\\u0000" in value and _NUL.search(value):
        raise MalformedError("a string holds NUL")
    return document


_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The escape, and not a backslash that is itself escaped before `u0000`."""


def _deeper_than(value: bytes, limit: int) -> bool:
    """Whether valid JSON nests deeper."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False


class WholeNumber:
    """A JSON number of integral value within bounds: 88 and 88.0, never "88", true or 88.5."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def __get_pydantic_core_schema__(self, source: type[int], handler: GetCoreSchemaHandler) -> CoreSchema:
        bounded = core_schema.int_schema(strict=False, ge=self.least, le=self.most)
        return core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=self.least, le=self.most),
                # From 2**53 on a double no longer tells a whole number from its neighbours: an id would be another's.
                core_schema.chain_schema([core_schema.float_schema(strict=True, gt=-(2.0**53), lt=2.0**53), bounded]),
            ],
            mode="left_to_right",
            custom_error_type="whole_number",
            custom_error_message=f"must be a whole number from {self.least} to {self.most}",
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


Int32 = Annotated[int, WholeNumber(-(2**31), 2**31 - 1), Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, WholeNumber(-(2**63), 2**63 - 1), Meta(ge=-(2**63), le=2**63 - 1)]
Id = Annotated[int, WholeNumber(1, 2**63 - 1), Meta(ge=1, le=2**63 - 1)]
OffsetSeconds = Annotated[int, WholeNumber(-43_200, 50_400), Meta(ge=-43_200, le=50_400)]
"""A UTC offset in seconds, west negative, within the range that clocks on Earth use."""


class _Double:
    def __get_pydantic_core_schema__(self, source: type[float], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.float_schema(strict=True, allow_inf_nan=False),
            custom_error_type="finite_double",
            custom_error_message="must be a finite number",
        )


Double = Annotated[float, _Double()]


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # A valid time whose instant no datetime can hold: its edge is as far beyond every limit of the law.
        return LATEST_INSTANT if value.year > UTC_MIDDLE_YEAR else EARLIEST_INSTANT


UTC_MIDDLE_YEAR: Final = 5000


class _Instant:
    def __get_pydantic_core_schema__(self, source: type[datetime], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            instant,
            core_schema.no_info_after_validator_function(
                _in_utc,
                core_schema.custom_error_schema(
                    core_schema.chain_schema(
                        [
                            core_schema.str_schema(strict=True, pattern=RFC3339),
                            core_schema.datetime_schema(
                                strict=False, tz_constraint="aware", microseconds_precision="truncate"
                            ),
                        ]
                    ),
                    custom_error_type="instant",
                    custom_error_message="must be a time of RFC 3339 with seconds and zone",
                ),
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time"}


Instant = Annotated[datetime, _Instant()]
"""An instant in UTC, cut to microseconds, from a string of RFC 3339 with seconds and zone."""
InstantText = Annotated[str, _Instant()]
"""The same to pydantic; to msgspec, whose own times are not quite those of RFC 3339, the string itself."""


class Word:
    """A string equal to one of `accepted` without regard to case; it is stored in lower case.

    Whatever type it annotates: a `Literal` of the usual spellings there is for msgspec.
    """

    def __init__(self, *accepted: str) -> None:
        self.accepted = accepted

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(self.accepted), "description": "In any case."}

    def _check(self, value: str) -> str:
        if (lowered := value.lower()) not in self.accepted:
            raise PydanticCustomError("word", "must be " + " or ".join(self.accepted) + ", in any case")  # noqa: EM101, RUF100
        return lowered


WIRE: Final = ConfigDict(strict=True, extra="ignore", alias_generator=to_camel, hide_input_in_errors=True)
"""Of a message from outside unknown fields are ignored, nothing is coerced, and names are camelCase."""


class WireModel(BaseModel):
    """A message from outside."""

    model_config = WIRE


def broken_rules(error: ValidationError, *, within: str = "") -> str:
    """Which fields broke which rules, never a value: `payload.systolic: Field required; …`, at most five."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
        path = ".".join(str(step) for step in (within, *fault["loc"]) if step != "")
        # Pydantic would tell the name of our class, or of Python's.
        rule = "must be an object" if fault["type"] in ("model_type", "dict_type") else fault["msg"]
        lines.append(f"{path}: {rule}" if path else rule)
    return "; ".join(lines)


def finite(value: float) -> float:
    """`value`, if a conversion left it finite.

    :raises PydanticCustomError: if it overflowed.
    """
    if not isfinite(value):
        raise PydanticCustomError("finite_number", "must be a finite number after conversion")
    return value
