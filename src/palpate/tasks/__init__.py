"""Built-in tasks, one TOML file each."""
