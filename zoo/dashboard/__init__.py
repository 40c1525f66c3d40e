"""W&B workspaces and reports as code: what runs log, the panels that show it, the views that hold those."""
