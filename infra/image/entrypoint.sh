#!/bin/sh
# Runs a command with secrets in its environment that were given as files:
#
#     PGPASSWORD_FILE=/run/secrets/mlflow-database sh entrypoint.sh mlflow server …
#
# puts the content of the file into PGPASSWORD. So no secret is in an image, in a compose file, in
# `docker inspect`, or on a command line.
set -eu

for name in \
  PGPASSWORD \
  MLFLOW_AUTH_ADMIN_PASSWORD \
  MLFLOW_FLASK_SERVER_SECRET_KEY \
  MLFLOW_TRACKING_PASSWORD \
  MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY \
  PREFECT_API_AUTH_STRING \
  PREFECT_SERVER_API_AUTH_STRING; do
  eval "file=\${${name}_FILE:-}"
  [ -n "$file" ] || continue
  if [ ! -r "$file" ]; then
    echo "${name}_FILE: $file cannot be read by user $(id -u)" >&2
    exit 2
  fi
  value=$(cat "$file")
  export "$name=$value"
done
exec "$@"
