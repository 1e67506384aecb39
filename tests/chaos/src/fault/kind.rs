//! What can go wrong.

/// What a fault is done to. Two faults at once are of different families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// A host process.
    Host,
    /// A broker, or the way to it.
    Broker,
    /// Redis, or the way to it.
    Store,
    /// What an operator does while messages flow.
    Operator,
}

impl Family {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Broker => "broker",
            Self::Store => "store",
            Self::Operator => "operator",
        }
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// A host is ended with SIGKILL and started again
    HostKill,
    /// A host is stopped with SIGSTOP for longer than its leases, then goes on
    HostFreeze,
    /// A host drains after SIGTERM and is started again
    HostStop,
    /// A host that drains is told to leave at once by a second SIGTERM
    HostLeave,
    /// All hosts drain and start again, one after another
    HostRolling,
    /// A broker is ended with SIGKILL and started again
    BrokerKill,
    /// A broker is ended in order and started again
    BrokerRestart,
    /// A broker is stopped with SIGSTOP, then goes on
    BrokerFreeze,
    /// Connections to a broker are closed and none is let through
    BrokerCut,
    /// Connections to a broker stay open and no byte gets through
    BrokerSilent,
    /// Every byte to and from a broker is late
    BrokerSlow,
    /// A broker blocks whoever publishes, as if its memory were full
    BrokerBlocked,
    /// A broker closes all its connections by itself
    BrokerKicks,
    /// Redis, which is durable, is ended with SIGKILL and started again
    RedisKill,
    /// Redis is stopped with SIGSTOP, then goes on
    RedisFreeze,
    /// Connections to Redis are closed and none is let through
    RedisCut,
    /// Connections to Redis stay open and no byte gets through
    RedisSilent,
    /// Every byte to and from Redis is late
    RedisSlow,
    /// Redis forgets all scripts
    RedisFlushScripts,
    /// Redis refuses writes because its memory is full
    RedisFull,
    /// Redis refuses writes because it is a replica for a while
    RedisReadonly,
    /// Redis closes all its connections by itself
    RedisKicks,
    /// Another version of the plugin is put in place
    PluginReload,
    /// The percentage of the cut-over rules is moved
    RuleFlip,
    /// The leader of a consumer is told to step down
    StepDown,
    /// A consumer is paused, then resumed
    Pause,
    /// Every host gets a configuration with another concurrency
    ConfigReload,
}

impl Kind {
    /// As it is typed.
    #[must_use]
    pub fn name(self) -> String {
        use clap::ValueEnum as _;
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is done to.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::HostKill
            | Self::HostFreeze
            | Self::HostStop
            | Self::HostLeave
            | Self::HostRolling => Family::Host,
            Self::BrokerKill
            | Self::BrokerRestart
            | Self::BrokerFreeze
            | Self::BrokerCut
            | Self::BrokerSilent
            | Self::BrokerSlow
            | Self::BrokerBlocked
            | Self::BrokerKicks => Family::Broker,
            Self::RedisKill
            | Self::RedisFreeze
            | Self::RedisCut
            | Self::RedisSilent
            | Self::RedisSlow
            | Self::RedisFlushScripts
            | Self::RedisFull
            | Self::RedisReadonly
            | Self::RedisKicks => Family::Store,
            Self::PluginReload
            | Self::RuleFlip
            | Self::StepDown
            | Self::Pause
            | Self::ConfigReload => Family::Operator,
        }
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        use clap::ValueEnum as _;
        Self::value_variants().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Kind};

    #[test]
    fn names_tell_the_family_where_there_is_one() {
        for kind in Kind::all() {
            let begins = match kind.family() {
                Family::Host => "host-",
                Family::Broker => "broker-",
                Family::Store => "redis-",
                Family::Operator => "",
            };
            assert!(kind.name().starts_with(begins), "{}", kind.name());
        }
        assert!(Kind::all().len() >= 12);
    }
}
