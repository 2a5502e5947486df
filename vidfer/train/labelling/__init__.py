"""Labels for training faces by other programs: landmarks by MediaPipe, soft emotions by any ONNX network."""
