#!/usr/bin/env bash
# An archive on a Slurm cluster, a part of it for each task of a job array: sbatch jobs/slurm.sh /archive/archive.toml
# The definition has executor.kind "local"; its videos and its output folder are on a disk that all machines share.
# A task that is submitted again goes on where it stopped. Exit code 4: all done except videos that `vidfer jobs report` names.
#SBATCH --job-name=vidfer
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --mem=12G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
# A minute before the time is up, for what is analysed to be written.
#SBATCH --signal=B:TERM@60
set -euo pipefail

# 16 parts, as above: Slurm's own count would be another one where single tasks are sent in again (sbatch --array=3,7 ...).
# exec: takes the place of this shell, so that the signal reaches it.
exec vidfer jobs run "$1" --shard "$SLURM_ARRAY_TASK_ID/16"
