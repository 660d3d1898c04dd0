"""A run on many machines: its calls go to Dask or Ray instead of processes of this one."""
