"""Small ONNX networks in torch."""
