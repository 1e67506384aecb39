//! holdfast-live
