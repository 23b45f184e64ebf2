"""Speed and memory of the whole service, as ratios in one run; results by version in `results/`."""
