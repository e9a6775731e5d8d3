"""Studies of sparse autoencoders: many trained on one stream, judged, compared, watched and used."""
