//! holdfast-ports
