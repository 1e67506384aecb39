//! holdfast-rabbitmq
