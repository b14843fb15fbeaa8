"""The stages of a run, one file and one command-line verb each."""
