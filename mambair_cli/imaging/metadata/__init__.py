"""What files say about their images beside the pixels: EXIF, XMP, IPTC, chunks, segments, tags."""
