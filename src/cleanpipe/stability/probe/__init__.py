"""Small trainings that ask what documents do: faults, twins, sweeps, calibration."""
