"""A build as jobs of a batch system: a plan that any node can read, and what its jobs run.

`pipeline submit` writes the plan and submits an array of SLURM; its elements run `pipeline work`,
the job after them `pipeline finish`. Any other scheduler can run the same two commands.
"""
