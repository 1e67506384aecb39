//! holdfast-embedded
