"""The live page and REST beside `vidfer watch`, over HTTP; needs the extra `vidfer[serve]`.

Starlette and uvicorn, since they bring four small packages: FastAPI would bring ten, takes 0.7 s to load, and carries
telemetry, in a program that promises to send nothing.
"""
