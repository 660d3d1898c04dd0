"""Quality statistics that merge exactly; drift and differences between runs."""
