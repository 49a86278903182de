"""Graph passes: each takes an ONNX graph and returns an equivalent one that runs faster or is smaller."""
