#!/usr/bin/env bash
# Makes the files in secrets/ with random content; those that exist stay as they are.
#
# The folder can be entered by you alone. The files in it can be read by everybody who gets that
# far, since containers read them under other accounts than yours.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 700 secrets

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
keep() { # keep NAME: standard input, unless there is a file of this name
  if [ -e "secrets/$1" ]; then
    cat > /dev/null
  else
    cat > "secrets/.$1"
    chmod 444 "secrets/.$1"
    mv "secrets/.$1" "secrets/$1"
  fi
}

for name in postgres-admin prefect-database mlflow-database decisions-database \
  mlflow-password mlflow-session-key grafana-password; do
  random | keep "$name"
done
printf 'perpetune:%s' "$(random)" | keep prefect-auth
# MLflow wants a Fernet key: 32 bytes in URL-safe base64 with its padding.
head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' | keep mlflow-webhook-key
printf '[default]\naws_access_key_id = perpetune\naws_secret_access_key = %s\n' "$(random)" |
  keep object-store
key=$(sed -n 's/^aws_access_key_id = //p' secrets/object-store)
secret=$(sed -n 's/^aws_secret_access_key = //p' secrets/object-store)
printf '{"identities": [{"name": "perpetune", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}\n' \
  "$key" "$secret" | keep object-store-accounts
echo "secrets: $PWD/secrets"
