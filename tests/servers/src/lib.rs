//! holdfast-servers
