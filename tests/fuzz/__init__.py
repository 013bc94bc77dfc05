"""What nobody thought of: documents, frames, bodies and headers made up by machines."""
