"""What a watch does with damaged files: sets them aside, and copies what can still be read to a new file."""
