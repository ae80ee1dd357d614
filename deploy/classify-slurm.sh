#!/bin/bash
# sbatch deploy/classify-slurm.sh s3://bucket/photos s3://bucket/answers
# Task 1 plans while it answers, the others read its plan. A task whose node dies is queued again, and goes on. One that
# ran out of time goes on with: sbatch --array=3 …, or all of them with the same command: what is there is left alone.
#SBATCH --job-name=flowers
#SBATCH --array=1-64
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=500M
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60
set -euo pipefail
# The shares stay the same whichever tasks of the array run: 64, as above.
readonly shards=64
export FLOWERS_THREADS="${SLURM_CPUS_PER_TASK:?}"
# 3: some pictures could not be read; that is among the answers.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" flowers classify "$1" --out "$2" --shard "${SLURM_ARRAY_TASK_ID:?}/$shards" || (($? == 3))
