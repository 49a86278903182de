"""The bundle: everything needed to run a model, as a folder or a zip file."""
