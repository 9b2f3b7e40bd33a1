"""uszipcode's own side of the bargain: run where it is installed, by `test_zip_environments.py`."""

import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from uszipcode.model import ComprehensiveZipcode, SimpleZipcode
from uszipcode.search import SearchEngine

from enrich.uszipcode_zones import UszipcodeError, uszipcode_zones, write_uszipcode_database
from enrich.zip_table import load_table
from enrich.zones import NoZone, Quality


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_arguments, **_named):
        raise AssertionError("uszipcode reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("uszipcode.search.download_db_file", refuse)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("uszipcode") / "zips.sqlite"
    assert write_uszipcode_database(path) == len(load_table().zips())
    return path


def own_database(path: Path, model: type, zones: dict[str, str | None]) -> Path:
    """A database of the user's own, made by uszipcode's model."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    model.__table__.create(engine)
    with sqlalchemy.orm.Session(engine) as session, session.begin():
        session.add_all([model(zipcode=zip_code, timezone=zone) for zip_code, zone in zones.items()])
    engine.dispose()
    return path


def test_uszipcode_itself_answers_every_zip_as_the_table_does(written):
    table = load_table()
    with SearchEngine(engine=sqlalchemy.create_engine(f"sqlite:///{written}")) as search:
        said = {digits: search.by_zipcode(digits).timezone for digits in table.zips()}
    assert said == {digits: table.look_up(digits).zone for digits in table.zips()}


def test_the_schema_is_the_one_that_uszipcode_makes(written, tmp_path):
    def described(path):
        inspector = sqlalchemy.inspect(sqlalchemy.create_engine(f"sqlite:///{path}"))
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns("simple_zipcode")]
        indices = sorted((i["name"], *i["column_names"]) for i in inspector.get_indexes("simple_zipcode"))
        return columns, inspector.get_pk_constraint("simple_zipcode")["constrained_columns"], indices

    assert described(written) == described(own_database(tmp_path / "own.sqlite", SimpleZipcode, {}))


@pytest.mark.parametrize("model", [SimpleZipcode, ComprehensiveZipcode])
def test_a_database_of_the_users_own_is_answered_from(model, tmp_path):
    told = {"19137": "America/New_York", "99634": "Napakiak", "96939": "", "96940": None, "09012": "Europe/Berlin"}
    zones = uszipcode_zones(own_database(tmp_path / "own.sqlite", model, told))
    assert (zones.of("19137-1234").zone, zones.of("19137").quality) == ("America/New_York", Quality.EXACT)
    for nonsense in ("99634", "96939", "96940"):
        assert zones.of(nonsense).reason is NoZone.UNKNOWN_ZONE
    assert zones.of("10001").reason is NoZone.UNKNOWN_ZIP
    assert zones.of("09012").reason is NoZone.MILITARY_MAIL


def test_the_version_follows_the_content_and_not_the_file(written, tmp_path):
    same = shutil.copy(written, tmp_path / "same.sqlite")
    assert uszipcode_zones(Path(same)).version == uszipcode_zones(written).version
    with closing(sqlite3.connect(same)) as database, database:
        database.execute("UPDATE simple_zipcode SET timezone = 'America/Chicago' WHERE zipcode = '19137'")
    changed = uszipcode_zones(Path(same))
    assert changed.version != uszipcode_zones(written).version
    assert changed.of("19137").zone == "America/Chicago"


def test_the_file_may_go_once_it_is_read(written, tmp_path):
    path = Path(shutil.copy(written, tmp_path / "odd name?#%20.sqlite"))
    zones = uszipcode_zones(path)
    path.unlink()
    assert zones.of("32456").other_zone == "America/Chicago"


def test_a_file_that_is_none_of_uszipcodes_is_refused_and_none_is_made(tmp_path):
    missing = tmp_path / "missing.sqlite"
    with pytest.raises(UszipcodeError):
        uszipcode_zones(missing)
    assert not missing.exists()
    (tmp_path / "text").write_text("not a database, however long it is made" * 100)
    with pytest.raises(UszipcodeError):
        uszipcode_zones(tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "empty.sqlite")) as database, database:
        database.execute("CREATE TABLE other (x)")
    with pytest.raises(UszipcodeError):
        uszipcode_zones(tmp_path / "empty.sqlite")
