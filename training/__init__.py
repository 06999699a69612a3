"""From chunks to a calibrated model file: train, export, calibrate, evaluate; each module is a script."""
