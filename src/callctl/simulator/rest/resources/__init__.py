"""The resources of the API, a file each, and what stands beside it under `/simulator`."""
