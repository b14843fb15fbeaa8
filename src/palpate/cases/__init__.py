"""Sources of cases: each file is one way to get labelled images."""
