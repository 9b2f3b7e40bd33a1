"""Zip codes looked up by uszipcode: the optional API over our table, or over a database of the user's own.

`write_uszipcode_database` needs nothing but the standard library; `uszipcode_zones` needs the extra `uszipcode`, which
is imported only there. `SearchEngine()` would download a database, so it is only ever given an engine on a file.
"""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from enrich.offsets import is_zone
from enrich.zip_answer import Quality, ZipAnswer, no_zone
from enrich.zip_code import NoZone, ZipCode, read_zip
from enrich.zip_table import load_table
from enrich.zones import StrictZones, Zones

if TYPE_CHECKING:
    from pathlib import Path

_VERSION_DIGITS: Final = 12
_COLUMNS: Final = """
    zipcode VARCHAR NOT NULL PRIMARY KEY, zipcode_type VARCHAR, major_city VARCHAR, post_office_city VARCHAR,
    common_city_list BLOB, county VARCHAR, state VARCHAR, lat FLOAT, lng FLOAT, timezone VARCHAR, radius_in_miles FLOAT,
    area_code_list BLOB, population INTEGER, population_density FLOAT, land_area_in_sqmi FLOAT,
    water_area_in_sqmi FLOAT, housing_units INTEGER, occupied_housing_units INTEGER, median_home_value INTEGER,
    median_household_income INTEGER, bounds_west FLOAT, bounds_east FLOAT, bounds_north FLOAT, bounds_south FLOAT
"""
_SCHEMA: Final = f"""
CREATE TABLE simple_zipcode ({_COLUMNS});
CREATE INDEX ix_simple_zipcode_lat ON simple_zipcode (lat);
CREATE INDEX ix_simple_zipcode_lng ON simple_zipcode (lng);
-- Ours, unknown to uszipcode: how sure the time zone is, for the zips where it is not exact.
CREATE TABLE zip_doubt (zipcode VARCHAR NOT NULL PRIMARY KEY, quality VARCHAR NOT NULL, other_timezone VARCHAR NOT NULL,
    other_share FLOAT);
"""


class UszipcodeError(Exception):
    """The extra is not installed, or the file is not a database of uszipcode's. The message is one line."""


def write_uszipcode_database(path: Path) -> int:
    """Write the packaged table as a SQLite database of uszipcode's schema to a new file; gives the number of zips.

    :raises FileExistsError: rather than touch a file that is there.
    """
    table = load_table()
    answers = [(digits, answer) for digits in table.zips() if (answer := table.look_up(digits))]
    doubts = [(digits, answer) for digits, answer in answers if answer.quality is not Quality.EXACT]
    path.touch(exist_ok=False)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        database.executemany(
            "INSERT INTO simple_zipcode (zipcode, timezone) VALUES (?, ?)",
            [(digits, answer.zone) for digits, answer in answers],
        )
        database.executemany(
            "INSERT INTO zip_doubt VALUES (?, ?, ?, ?)",
            [(digits, answer.quality.value, answer.other_zone, answer.other_share) for digits, answer in doubts],
        )
    return len(answers)


def uszipcode_zones(path: Path) -> Zones:
    """The zones that the uszipcode database at `path` names, its simple or its comprehensive table.

    It is read once, here: what is judged with one version stays so, whatever becomes of the file. A blank, or a name
    that is no zone of the packaged tzdata, is no zone.

    :raises UszipcodeError: when the extra is missing or the file is no such database.
    """
    try:
        sqlalchemy, errors, search = _uszipcode()
    except ImportError as missing:
        raise UszipcodeError("uszipcode is not installed: install device-readings[uszipcode]") from missing
    read_only = f"file:{quote(str(path.absolute()))}?mode=ro"
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(read_only, uri=True))
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
        kind = "simple" if "simple_zipcode" in tables else "comprehensive"
        kinds = search.SearchEngine.SimpleOrComprehensiveArgEnum
        with search.SearchEngine(simple_or_comprehensive=kinds[kind], engine=engine) as found:
            zones = _rows(found.ses, sqlalchemy.select(found.zip_klass.zipcode, found.zip_klass.timezone))
            doubts = _rows(found.ses, sqlalchemy.text("SELECT * FROM zip_doubt")) if "zip_doubt" in tables else []
    except errors.SQLAlchemyError as error:
        raise UszipcodeError("the zip code database cannot be read, or is none of uszipcode's") from error
    finally:
        engine.dispose()
    version = sha256(repr((zones, doubts)).encode()).hexdigest()[:_VERSION_DIGITS]
    return StrictZones(f"uszipcode-{version}", _answers(zones, doubts).get)


def _uszipcode() -> tuple[Any, Any, Any]:
    """SQLAlchemy, its errors, and uszipcode's search; their warnings at import are theirs to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("sqlalchemy"), import_module("sqlalchemy.exc"), import_module("uszipcode.search")


def _rows(session: Any, statement: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in session.execute(statement)), key=repr)


def _answers(zones: list[tuple[Any, ...]], doubts: list[tuple[Any, ...]]) -> dict[str, ZipAnswer]:
    answers: dict[str, ZipAnswer] = {}
    exact: dict[str, ZipAnswer] = {}
    for digits, zone in zones:
        if read_zip(digits) != ZipCode(digits):
            continue  # not five digits: nobody can ask for it
        if is_zone(zone):
            answers[digits] = exact.setdefault(zone, ZipAnswer(zone, Quality.EXACT))
        else:
            answers[digits] = no_zone(NoZone.UNKNOWN_ZONE)
    for digits, quality, other_zone, other_share in doubts:
        answer = answers.get(digits)
        if answer and answer.zone and is_zone(other_zone) and quality in {Quality.STRADDLES, Quality.CONTESTED}:
            answers[digits] = ZipAnswer(answer.zone, Quality(quality), None, other_zone, other_share)
    return answers
