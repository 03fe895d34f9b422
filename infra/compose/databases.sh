#!/usr/bin/env bash
# Runs once, in an empty PostgreSQL: a role and a database for each program, which see only their own.
set -euo pipefail

for name in prefect mlflow decisions; do
  role=$name
  if [ "$name" = decisions ]; then role=perpetune; fi
  psql -v ON_ERROR_STOP=1 -v role="$role" -v password="$(cat "/run/secrets/$name-database")" \
    -v database="$name" --username postgres --dbname postgres <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
done
# Accounts of MLflow's users are in a database of their own.
psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
CREATE DATABASE mlflow_accounts OWNER mlflow;
REVOKE ALL ON DATABASE mlflow_accounts FROM PUBLIC;
SQL
