"""The studio for Hugging Face Spaces, which start this file and show what listens at port 7860."""

from impasto.studio import Limits, Options, serve

if __name__ == "__main__":
    serve(Options(host="0.0.0.0", port=7860, open=True, browser=False, limits=Limits(size=1024)))
