#!/usr/bin/env bash
# A Ray cluster on this machine, with dashboard and job server, until Ctrl-C. Two lines use it, from
# the top of the checkout, the second in another terminal:
#
#   bash clusters/local/head.sh
#   RAY_AUTH_MODE=token ray job submit --address http://127.0.0.1:8265 --working-dir . -- mlt-ray run table1 --corpus "$PWD/IEMOCAP_full_release" --store "$PWD/runs"
#
# The paths are absolute, because a job runs in a copy of its working directory. Options go to
# `ray start`, such as --num-cpus 4. The token is ~/.ray/auth_token, or what RAY_AUTH_TOKEN_PATH
# names. Another machine with the same token joins by `RAY_AUTH_MODE=token ray start --address
# THIS_MACHINE:6379 --block`; --store must then be a place that both see.
set -euo pipefail
umask 077 # the token is nobody else's
export RAY_AUTH_MODE=token
if [[ -n ${RAY_AUTH_TOKEN_PATH:-} && ! -s $RAY_AUTH_TOKEN_PATH ]]; then
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH"
fi
ray get-auth-token --generate >/dev/null
exec ray start --head --block --disable-usage-stats "$@"
