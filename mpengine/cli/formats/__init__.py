"""What `listen` writes: captions, subtitles, messages; and how an output is gone on with."""
