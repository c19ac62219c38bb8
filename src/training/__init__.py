"""What a run needs beside its task: the trainer, the folder, checkpoints, logs, the cost estimate and resumption."""
