"""From a finished run to words and pictures. Nothing below this folder knows HTML or colour."""
