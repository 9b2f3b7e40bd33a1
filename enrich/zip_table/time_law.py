"""Which time each county, and each zip that is an exception, keeps: read by `build.py` only, written by hand.

Sources: 49 CFR part 71 (the boundaries by law), the comments of tzdb's `northamerica` file (what clocks there say, and
their history), and for the exceptions what is named beside each. Counties by their five FIPS digits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

EASTERN: Final = "America/New_York"
CENTRAL: Final = "America/Chicago"
MOUNTAIN: Final = "America/Denver"
ARIZONA: Final = "America/Phoenix"
BOISE: Final = "America/Boise"
PACIFIC: Final = "America/Los_Angeles"
ALASKA: Final = "America/Anchorage"


def _states(zone: str, numbers: str) -> dict[str, str]:
    return dict.fromkeys(numbers.split(), zone)


STATES: Final[dict[str, str]] = {
    # CT DE DC FL GA KY ME MD MA NH NJ NY NC OH PA RI SC VT VA WV
    **_states(EASTERN, "09 10 11 12 13 21 23 24 25 33 34 36 37 39 42 44 45 50 51 54"),
    # AL AR IL IA KS LA MN MS MO NE ND OK SD TN TX WI
    **_states(CENTRAL, "01 05 17 19 20 22 27 28 29 31 38 40 46 47 48 55"),
    **_states(MOUNTAIN, "08 30 35 49 56"),  # CO MT NM UT WY
    **_states(PACIFIC, "06 32 41 53"),  # CA NV OR WA
    "02": ALASKA,
    "04": ARIZONA,
    "15": "Pacific/Honolulu",
    "16": BOISE,
    "18": "America/Indiana/Indianapolis",
    "26": "America/Detroit",
    "60": "Pacific/Pago_Pago",
    "66": "Pacific/Guam",
    "69": "Pacific/Saipan",
    "72": "America/Puerto_Rico",
    "78": "America/St_Thomas",
}
"""The time of a state (its two FIPS digits) wherever nothing below says otherwise."""


def _counties(zone: str, state: str, numbers: str) -> dict[str, str]:
    return {state + number: zone for number in numbers.split()}


COUNTIES: Final[dict[str, str]] = {
    # Florida west of the Apalachicola: Bay Calhoun Escambia Holmes Jackson Okaloosa Santa-Rosa Walton Washington
    **_counties(CENTRAL, "12", "005 013 033 059 063 091 113 131 133"),
    # Idaho north of the Salmon: Benewah Bonner Boundary Clearwater Kootenai Latah Lewis Nez-Perce Shoshone
    **_counties(PACIFIC, "16", "009 017 021 035 055 057 061 069 079"),
    # Indiana like Chicago: Gibson Jasper Lake LaPorte Newton Porter Posey Spencer Vanderburgh Warrick
    **_counties(CENTRAL, "18", "051 073 089 091 111 127 129 147 163 173"),
    **_counties(EASTERN, "18", "029 115"),  # Dearborn Ohio
    **_counties("America/Kentucky/Louisville", "18", "019 043 061"),  # Clark Floyd Harrison
    **_counties("America/Indiana/Marengo", "18", "025"),  # Crawford
    **_counties("America/Indiana/Vincennes", "18", "027 037 083 101"),  # Daviess Dubois Knox Martin
    **_counties("America/Indiana/Tell_City", "18", "123"),  # Perry
    **_counties("America/Indiana/Petersburg", "18", "125"),  # Pike
    **_counties("America/Indiana/Winamac", "18", "131"),  # Pulaski
    **_counties("America/Indiana/Knox", "18", "149"),  # Starke
    **_counties("America/Indiana/Vevay", "18", "155"),  # Switzerland
    **_counties(MOUNTAIN, "20", "071 075 181 199"),  # Kansas: Greeley Hamilton Sherman Wallace
    # Kentucky, Central: Adair Allen Ballard Barren Breckinridge Butler Caldwell Calloway Carlisle Christian Clinton
    **_counties(CENTRAL, "21", "001 003 007 009 027 031 033 035 039 047 053"),
    # Crittenden Cumberland Daviess Edmonson Fulton Graves Grayson Green Hancock Hart Henderson Hickman Hopkins
    **_counties(CENTRAL, "21", "055 057 059 061 075 083 085 087 091 099 101 105 107"),
    # Livingston Logan Lyon McCracken McLean Marshall Metcalfe Monroe Muhlenberg Ohio Russell Simpson
    **_counties(CENTRAL, "21", "139 141 143 145 149 157 169 171 177 183 207 213"),
    **_counties(CENTRAL, "21", "219 221 225 227 233"),  # Todd Trigg Union Warren Webster
    **_counties("America/Kentucky/Louisville", "21", "111"),  # Jefferson
    **_counties("America/Kentucky/Monticello", "21", "231"),  # Wayne
    **_counties("America/Menominee", "26", "043 053 071 109"),  # Michigan: Dickinson Gogebic Iron Menominee
    # Nebraska: Arthur Banner Box-Butte Chase Cheyenne Dawes Deuel Dundy Garden Grant Hooker Keith Kimball Morrill
    **_counties(MOUNTAIN, "31", "005 007 013 029 033 045 049 057 069 075 091 101 105 123"),
    **_counties(MOUNTAIN, "31", "135 157 161 165"),  # Perkins Scotts-Bluff Sheridan Sioux
    # North Dakota: Adams Billings Bowman Golden-Valley Grant Hettinger Slope Stark
    **_counties(MOUNTAIN, "38", "001 007 011 033 037 041 087 089"),
    **_counties("America/North_Dakota/Beulah", "38", "057"),  # Mercer
    **_counties("America/North_Dakota/New_Salem", "38", "059"),  # Morton
    **_counties("America/North_Dakota/Center", "38", "065"),  # Oliver
    # South Dakota: Bennett Butte Corson Custer Dewey Fall-River Haakon Harding Jackson Lawrence Meade
    **_counties(MOUNTAIN, "46", "007 019 031 033 041 047 055 063 071 081 093"),
    **_counties(MOUNTAIN, "46", "102 103 105 113 137"),  # Oglala-Lakota (once 113) Pennington Perkins Ziebach
    # Tennessee, Eastern: Anderson Blount Bradley Campbell Carter Claiborne Cocke Grainger Greene Hamblen
    **_counties(EASTERN, "47", "001 009 011 013 019 025 029 057 059 063"),
    # Hamilton Hancock Hawkins Jefferson Johnson Knox Loudon McMinn Meigs Monroe Morgan Polk Rhea Roane Scott
    **_counties(EASTERN, "47", "065 067 073 089 091 093 105 107 121 123 129 139 143 145 151"),
    **_counties(EASTERN, "47", "155 163 171 173 179"),  # Sevier Sullivan Unicoi Union Washington
    **_counties(MOUNTAIN, "48", "141 229"),  # Texas: El-Paso Hudspeth
}
"""The time of a whole county, where it is not that of its state."""

SPLIT_COUNTIES: Final[dict[str, frozenset[str]]] = {
    # Arizona: the Navajo Nation keeps daylight saving time, the rest and the Hopi do not. Apache, Coconino, Navajo
    **dict.fromkeys(["04001", "04005", "04017"], frozenset({ARIZONA, MOUNTAIN})),
    "12045": frozenset({CENTRAL, EASTERN}),  # Gulf, Florida: Central north of the Intracoastal Waterway
    "16049": frozenset({PACIFIC, BOISE}),  # Idaho, Idaho: Pacific north of the Salmon River
    "31031": frozenset({CENTRAL, MOUNTAIN}),  # Cherry, Nebraska: Mountain in the west
    "38025": frozenset({CENTRAL, MOUNTAIN}),  # Dunn, North Dakota: Central north of the Little Missouri
    "38053": frozenset({CENTRAL, MOUNTAIN}),  # McKenzie: Mountain in the south, and west of the Yellowstone
    "38085": frozenset({CENTRAL, MOUNTAIN}),  # Sioux, North Dakota: Mountain west of Highway 31
    "41045": frozenset({PACIFIC, BOISE}),  # Malheur, Oregon: all Mountain but its southern end
    "46117": frozenset({CENTRAL, MOUNTAIN}),  # Stanley, South Dakota: by law the boundary cuts through Fort Pierre
}
"""Counties that a boundary cuts through, and its two sides: there the polygon at the town decides."""

NAMED_BY_POINT: Final = frozenset({"02", "21"})
"""Alaska and Kentucky: where zones share their offsets since 2001, the polygon chooses among their names."""


class Exceptional(NamedTuple):
    """A zip whose time is set by hand; `other` is the law's time where contested, else that of the other part."""

    zone: str
    quality: str
    other: str | None
    why: str


def _exact(zone: str, why: str) -> Exceptional:
    return Exceptional(zone, "exact", None, why)


def _straddles(zone: str, other: str, why: str) -> Exceptional:
    return Exceptional(zone, "straddles", other, why)


def _contested(zone: str, law: str, why: str) -> Exceptional:
    return Exceptional(zone, "contested", law, why)


_ALABAMA: Final = "the city and its schools keep Columbus or West Point time (tzdb northamerica, 2005 and 2017)"
_RUSSELL: Final = "in unincorporated Russell County people keep the time of their jobs (Associated Press, 2006-08-13)"
_ELKO: Final = "keeps Idaho's time (tzdb northamerica, America/Denver)"
_YUMA: Final = "keeps Yuma's time the year round (tz mailing list, 2011-04 and 2011-09)"

ZIPS: Final[dict[str, Exceptional]] = {
    # Local clocks against the law: the answer is what the clocks there say.
    "36854": _contested(EASTERN, CENTRAL, f"Valley AL: {_ALABAMA}"),
    "36863": _contested(EASTERN, CENTRAL, f"Lanett AL: {_ALABAMA}"),
    "36867": _contested(EASTERN, CENTRAL, f"Phenix City AL: {_ALABAMA}"),
    "36868": _contested(EASTERN, CENTRAL, f"Phenix City AL: {_ALABAMA}"),
    "36869": _contested(EASTERN, CENTRAL, f"Phenix City AL: {_ALABAMA}"),
    "36870": _contested(EASTERN, CENTRAL, f"Phenix City AL (Ladonia): {_ALABAMA}"),
    "36877": _contested(EASTERN, CENTRAL, f"Smiths Station AL: {_ALABAMA}"),
    "36874": _straddles(CENTRAL, EASTERN, "Salem AL: the town keeps the law's time, its edge that of Smiths Station"),
    "36856": _straddles(CENTRAL, EASTERN, f"Fort Mitchell AL: {_RUSSELL}"),
    "36875": _straddles(CENTRAL, EASTERN, f"Seale AL: {_RUSSELL}"),
    "57532": _contested(CENTRAL, MOUNTAIN, "Fort Pierre SD: the law's line halves the city, which keeps Pierre's time"),
    "73946": _contested(MOUNTAIN, CENTRAL, "Kenton OK: keeps the time of the towns it trades with in New Mexico"),
    "79847": _contested(MOUNTAIN, CENTRAL, "Salt Flat and Pine Springs TX (tzdb northamerica, America/Denver)"),
    "83671": _contested(BOISE, PACIFIC, "Warren ID, reached from McCall only; tzdb northamerica counts it as Pacific"),
    "89825": _contested(MOUNTAIN, PACIFIC, f"Jackpot NV: {_ELKO}"),
    "89826": _contested(MOUNTAIN, PACIFIC, "Jarbidge NV: reached from Idaho only, keeps its time"),
    "89831": _contested(MOUNTAIN, PACIFIC, f"Mountain City NV: {_ELKO}"),
    "89832": _contested(MOUNTAIN, PACIFIC, f"Owyhee NV, Duck Valley Reservation: {_ELKO}"),
    "92222": _contested(ARIZONA, PACIFIC, f"Bard CA: {_YUMA}"),
    "92283": _contested(ARIZONA, PACIFIC, f"Winterhaven CA: {_YUMA}"),
    "99923": _contested(PACIFIC, "America/Sitka", "Hyder AK: with its neighbour Stewart BC (tz mailing list, 2015-11)"),
    # A town that is not like its county, or whose point lies off the town.
    "58838": _straddles(CENTRAL, MOUNTAIN, "Cartwright ND lies east of the Yellowstone, its point west"),
    "85920": _exact(ARIZONA, "Alpine AZ: near New Mexico, far from the Navajo Nation"),
    "86028": _exact(ARIZONA, "Petrified Forest: a national park, not of the Navajo Nation"),
    "86555": _exact(MOUNTAIN, "in Apache County AZ, inside the Navajo Nation; one source misplaces it to Douglas"),
    "89883": _exact(MOUNTAIN, "West Wendover NV: by law since 1999-10-31 (64 FR 56705), by habit before"),
    "97907": _straddles(PACIFIC, BOISE, "Huntington OR is in Baker County, the zip reaches into Malheur County"),
    "99546": _exact("America/Adak", "Adak AK: west of 169.5 degrees west (49 CFR 71.12)"),
    "99547": _exact("America/Adak", "Atka AK: west of 169.5 degrees west (49 CFR 71.12)"),
    "99926": _exact("America/Metlakatla", "Metlakatla AK: a history of its own (tzdb northamerica)"),
    # Where the sources have no point, or the wrong one.
    "96898": _exact("Pacific/Wake", "Wake Island"),
    "96939": _exact("Pacific/Palau", "Ngerulmud, Palau"),
    "96940": _exact("Pacific/Palau", "Koror, Palau"),
    "96941": _exact("Pacific/Pohnpei", "Pohnpei, Micronesia"),
    "96942": _exact("Pacific/Chuuk", "Chuuk, Micronesia"),
    "96943": _exact("Pacific/Chuuk", "Yap, Micronesia: Chuuk's time"),
    "96944": _exact("Pacific/Kosrae", "Kosrae, Micronesia"),
    "96960": _exact("Pacific/Majuro", "Majuro, Marshall Islands"),
    "96970": _exact("Pacific/Kwajalein", "Ebeye on Kwajalein, Marshall Islands"),
}
"""The exceptions, each with its reason."""

NOWHERE: Final[dict[str, str]] = {
    "88888": "letters to Santa Claus",
}
"""Zips that are no place: the table leaves them out."""
