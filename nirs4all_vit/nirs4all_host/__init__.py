"""What nirs4all needs to hand the wavelengths over; nothing imports it but the import hook of the embedder, by name."""
