"""What a training is, beneath every model: steps, evaluation, processes, and checkpoints to go on from."""
