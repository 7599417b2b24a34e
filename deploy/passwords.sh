#!/bin/sh
# For compose.yaml: gives the roles of roles.sql their passwords, when the container's
# database is made.
set -e
psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
	-v migrate="$MIGRATE_PASSWORD" -v run="$RUN_PASSWORD" <<'SQL'
alter role rowbell_migrate password :'migrate';
alter role rowbell_run password :'run';
SQL
