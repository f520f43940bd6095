"""Reading video: the only place that imports PyAV."""
