"""What a training is beneath every model: evaluation, checkpoints to go on from, the best epoch, the data it was on."""
