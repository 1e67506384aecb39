//! holdfast-redis
