"""The stream: from the training thread's records to the frames that viewers get."""
