"""Image files and folders, as microscopes and people write them, and stacks of generated cells."""
