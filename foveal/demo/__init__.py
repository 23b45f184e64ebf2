"""The demo: the main job on real input, as a newcomer sees it."""
