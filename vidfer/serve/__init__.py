"""The live page and REST beside `vidfer watch`, over HTTP; needs the extra `vidfer[serve]`.

Starlette and uvicorn, which load in 0.12 s of CPU. FastAPI would bring six more packages, 0.31 s, and telemetry (off
unless configured) into a program that promises to send nothing; the description of REST is written by hand and fuzzed.
"""
