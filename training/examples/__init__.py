"""Small trainings that run as they are: `python -m training.examples.digits_cnn STORE`."""
