"""The commands of `foveal`, one file each."""
