"""A trained model as a folder that answers raw rows, on this machine and on others."""
