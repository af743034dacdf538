#!/bin/sh
# Makes Temporal's two databases, or brings them up to this version; run at every start.
# Takes SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD from the environment.
set -eu

schemas=/etc/temporal/schema/postgresql/v12

make_database() {
    temporal-sql-tool --db "$1" create
    temporal-sql-tool --db "$1" setup-schema -v 0.0
    temporal-sql-tool --db "$1" update-schema -d "$schemas/$2/versioned"
}

make_database temporal temporal
make_database temporal_visibility visibility
echo 'the databases are there'
