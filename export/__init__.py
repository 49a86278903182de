"""Checkpoint -> ONNX -> verified bundle: everything between PyTorch and the runtime."""
