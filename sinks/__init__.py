"""Where things end up: PostgreSQL or TimescaleDB, through asyncpg. May import `schemas` only."""
