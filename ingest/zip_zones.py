"""Which source of zones this process asks: the packaged table, or a uszipcode database that a setting names."""

from pathlib import Path

from enrich.uszipcode_zones import UszipcodeError, uszipcode_zones
from enrich.zones import Zones, table_zones
from ingest.settings import SettingsError


def zones_of(uszipcode_database: Path | None) -> Zones:
    """The source of zones.

    :raises SettingsError: when uszipcode is not installed, or the file is no database of its.
    """
    if uszipcode_database is None:
        return table_zones()
    try:
        return uszipcode_zones(uszipcode_database)
    except UszipcodeError as error:
        raise SettingsError(f"READINGS_USZIPCODE_DATABASE: {error}") from None
