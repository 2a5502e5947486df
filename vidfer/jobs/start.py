"""The executor that a definition asks for."""

from __future__ import annotations

from vidfer.jobs.definition import Job
from vidfer.jobs.executor import Executor
from vidfer.jobs.worker import Setup


def start_executor(job: Job) -> Executor:
    """Its workers begin to load their networks when it is entered.

    Raises:
        UsageError: It needs a package that is not installed.
        VidferError: No cluster answers.
    """
    options, setup = job.executor, Setup(options=job.options, cores=job.executor.num_cpus, slice_s=job.slice_s)
    if options.kind == "ray":
        from vidfer.jobs.ray import RayExecutor

        return RayExecutor(
            setup,
            workers=options.workers,
            cores=options.num_cpus,
            gpus=options.num_gpus,
            memory_gb=options.memory_gb,
            address=options.address,
            stall_s=options.stall_s,
        )
    from vidfer.jobs.local import LocalExecutor, usual_workers

    workers = options.workers or usual_workers(options.num_cpus, options.memory_gb)
    return LocalExecutor(setup, workers=workers, cores=options.num_cpus, stall_s=options.stall_s)
