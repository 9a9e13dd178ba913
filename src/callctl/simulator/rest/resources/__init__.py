"""The resources of the API, a file each, and what is beside it under `/simulator`."""
