//! How times are written: RFC 3339 with nanoseconds, in UTC.

pub(super) mod rfc3339 {
    use std::{borrow::Cow, time::SystemTime};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::record) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_nanos(*time))
    }

    pub(in crate::record) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SystemTime, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

pub(super) mod rfc3339_or_null {
    use std::{borrow::Cow, time::SystemTime};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::rfc3339;

    pub(in crate::record) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => rfc3339::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::record) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(from)?;
        text.map(|text| humantime::parse_rfc3339(&text).map_err(D::Error::custom))
            .transpose()
    }
}
