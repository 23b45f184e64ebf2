"""ReID: data, training, evaluation. `python -m training.reid train|export|evaluate|ablate|adapt-trial`."""
