"""The tables of the jobs' database, and what brings an older home's up to date."""

import sqlite3

# Times are whole milliseconds since the epoch, UTC: what AWS shows.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS training_jobs (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL,
    request TEXT NOT NULL,           -- the whole CreateTrainingJob request, JSON
    status TEXT NOT NULL,            -- TrainingJobStatus
    failure_reason TEXT,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS transitions (
    job TEXT NOT NULL REFERENCES training_jobs (name),
    position INTEGER NOT NULL,
    status TEXT NOT NULL,            -- SecondaryStatus
    message TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    PRIMARY KEY (job, position)
) STRICT;
CREATE TABLE IF NOT EXISTS metrics (
    position INTEGER PRIMARY KEY,    -- the order of the log
    job TEXT NOT NULL REFERENCES training_jobs (name),
    name TEXT NOT NULL,
    value REAL NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS metrics_of_a_job ON metrics (job, name, position);
CREATE TABLE IF NOT EXISTS tags (
    position INTEGER PRIMARY KEY,    -- the order in which they were given
    arn TEXT NOT NULL,               -- of any resource that can be tagged
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (arn, key)
) STRICT;
"""

# Before version 1 a job's tags were in its request alone.
_TAGS_FROM_REQUESTS = """
INSERT OR IGNORE INTO tags (arn, key, value)
    SELECT arn, json_extract(tag.value, '$.Key'), json_extract(tag.value, '$.Value')
    FROM training_jobs, json_each(request, '$.Tags') AS tag;
PRAGMA user_version = 1;
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Makes the tables that are missing; nothing that is there is lost."""
    connection.executescript(_SCHEMA)
    if connection.execute("PRAGMA user_version").fetchone()[0] < 1:
        connection.executescript(_TAGS_FROM_REQUESTS)
