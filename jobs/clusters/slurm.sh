#!/usr/bin/env bash
# A Ray cluster within a SLURM allocation, and a job of vidcnn on it. The environment with vidcnn must be on a file system
# that all nodes share; so must the videos and the output.
#
#   sbatch jobs/clusters/slurm.sh infer /shared/videos --out /shared/predictions
#
#SBATCH --job-name=vidcnn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

# A token of this allocation keeps others who reach its nodes out.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(openssl rand -hex 32)
# By default, Ray ends processes that have waited for a second; each takes two seconds of a processor to start again.
export RAY_idle_worker_killing_time_threshold_ms=60000 RAY_worker_niceness=0
port=$((20000 + SLURM_JOB_ID % 10000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
cpus=${SLURM_CPUS_ON_NODE:-$(nproc)}

# One task on each node: the head on the first, which the others join. It ends with the allocation.
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --block --port="$port" --dashboard-port=$((port + 1)) --dashboard-agent-listen-port=0 \
    --num-cpus="$cpus" &
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks-per-node=1 --exclude="$head" \
        bash -c "until ray start --address='$head:$port' --block --num-cpus=$cpus --dashboard-agent-listen-port=0; do sleep 5; done" &
fi

dashboard=http://127.0.0.1:$((port + 1))
until curl --silent --output /dev/null "$dashboard"; do sleep 2; done

# SLURM sends SIGTERM before the time is over: vidcnn then asks its job to commit what is finished, and the same command
# in another allocation continues.
vidcnn "$@" --cluster "$dashboard" &
command=$!
trap 'for id in $(vidcnn jobs list --cluster "$dashboard" --json | grep -o "vidcnn-[a-z]*-[0-9a-f]*-[0-9]*" | sort -u); do
    vidcnn jobs stop "$id" --cluster "$dashboard"; done' TERM
status=0
wait "$command" || status=$?
while kill -0 "$command" 2>/dev/null; do wait "$command" || status=$?; done
exit "$status"
