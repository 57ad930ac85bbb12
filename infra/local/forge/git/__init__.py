"""Git on the forge's side: processes, refs, commits, differences, merges, and the smart HTTP protocol."""
