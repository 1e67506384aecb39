//! holdfast-tidy
