//! holdfast-sdk-macros
