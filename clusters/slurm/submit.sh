#!/usr/bin/env bash
# A study under Slurm: a Ray cluster on the job's nodes for as long as the job runs. Two lines use
# it, from the top of the checkout, on a file system that all nodes see:
#
#   python3.11 -m venv .venv && .venv/bin/pip install -c constraints.txt ".[opensmile]"
#   sbatch --nodes 4 clusters/slurm/submit.sh run table1 --profile many_gpus --corpus IEMOCAP_full_release --store runs
#
# What stands behind submit.sh is mlt-ray's own. A job that ran out of time goes on when it is
# submitted again.
#SBATCH --job-name=mlt-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --output=mlt-ray-%j.log
# Ray's agents have fixed ports, so two clusters on one node would meet.
#SBATCH --exclusive
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
# shellcheck disable=SC1091
source "${VENV:-.venv}/bin/activate"

umask 077
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"; kill $(jobs -p) 2>/dev/null; wait' EXIT
python -c 'import secrets; print(secrets.token_hex(32))' >"$RAY_AUTH_TOKEN_PATH"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# This script runs on the first node; names may resolve to its loopback address, so ask for its own.
read -r head_ip _ < <(hostname -I)
address="$head_ip:$((20000 + SLURM_JOB_ID % 10000))"
ray_start=(
  ray start --block --disable-usage-stats
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}"
)

# srun takes what sbatch was given, save for the CPUs of a task.
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" "${ray_start[@]}" --head \
  --node-ip-address "$head_ip" --port "${address##*:}" --temp-dir "/tmp/ray-$SLURM_JOB_ID" \
  --include-dashboard false &
head_step=$!
until ray health-check --address "$address" >/dev/null 2>&1; do
  kill -0 "$head_step" || { echo "no Ray head on ${nodes[0]}; see above" >&2; exit 1; }
  sleep 1
done
others=$((${#nodes[@]} - 1))
if ((others)); then
  srun --nodes="$others" --ntasks="$others" --exclude="${nodes[0]}" \
    "${ray_start[@]}" --address "$address" &
fi

RAY_ADDRESS="$address" mlt-ray "$@"
